#include "image/resize_axis.h"

#include <algorithm>
#include <cmath>
#include <list>
#include <mutex>
#include <stdexcept>

namespace minimind::detail {
namespace {

constexpr double kBicubicReach = 2.0;

double bicubic_weight(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1.0) {
    return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  }
  if (x < 2.0) {
    return (((x - 5) * x + 8) * x - 4) * a;
  }
  return 0.0;
}

int32_t fixed_point(double weight) {
  const double scaled = weight * (1 << kResizeBits);
  return static_cast<int32_t>(weight < 0 ? scaled - 0.5 : scaled + 0.5);
}

struct AxisKey {
  int64_t in_size;
  int64_t out_size;
  bool operator==(const AxisKey&) const = default;
};

/// The most recently used axes, first. A data set has few sizes, and each costs as much as a resize.
class AxisCache {
 public:
  std::shared_ptr<const ResizeAxis> find(const AxisKey& key) {
    const std::lock_guard lock(mutex_);
    for (auto it = entries_.begin(); it != entries_.end(); ++it) {
      if (it->key == key) {
        entries_.splice(entries_.begin(), entries_, it);
        return it->axis;
      }
    }
    return nullptr;
  }
  void add(const AxisKey& key, std::shared_ptr<const ResizeAxis> axis) {
    const std::lock_guard lock(mutex_);
    entries_.push_front({key, std::move(axis)});
    if (entries_.size() > kMaxEntries) {
      entries_.pop_back();
    }
  }

 private:
  static constexpr size_t kMaxEntries = 64;
  struct Entry {
    AxisKey key;
    std::shared_ptr<const ResizeAxis> axis;
  };
  std::mutex mutex_;
  std::list<Entry> entries_;
};

}  // namespace

// The order of the floating-point operations is Pillow's: the rounded coefficients must come out the same.
ResizeAxis::ResizeAxis(int64_t in_size, int64_t out_size) {
  if (in_size < 1 || out_size < 1) {
    throw std::logic_error("ResizeAxis: sizes below 1");
  }
  const double scale = static_cast<double>(in_size) / static_cast<double>(out_size);
  const double filter_scale = std::max(scale, 1.0);
  const double reach = kBicubicReach * filter_scale;
  const double inverse = 1.0 / filter_scale;
  std::vector<std::vector<int32_t>> rows(static_cast<size_t>(out_size));
  std::vector<double> weights;
  for (int64_t i = 0; i < out_size; ++i) {
    const double center = (static_cast<double>(i) + 0.5) * scale;
    const int64_t first = std::max<int64_t>(static_cast<int64_t>(center - reach + 0.5), 0);
    const int64_t last = std::min(static_cast<int64_t>(center + reach + 0.5), in_size);
    weights.clear();
    double sum = 0.0;
    for (int64_t t = 0; t < last - first; ++t) {
      weights.push_back(bicubic_weight((static_cast<double>(t + first) - center + 0.5) * inverse));
      sum += weights.back();
    }
    std::vector<int32_t>& row = rows[static_cast<size_t>(i)];
    for (const double weight : weights) {
      row.push_back(fixed_point(sum != 0.0 ? weight / sum : weight));
    }
    // Outer zeros change nothing and cost a tap.
    while (row.size() > 1 && row.back() == 0) {
      row.pop_back();
    }
    firsts_.push_back(static_cast<int32_t>(first));
    counts_.push_back(static_cast<int32_t>(row.size()));
    taps_ = std::max(taps_, (counts_.back() + 3) / 4 * 4);
  }
  values_.resize(rows.size() * static_cast<size_t>(taps_));
  for (size_t i = 0; i < rows.size(); ++i) {
    std::copy(rows[i].begin(), rows[i].end(), values_.begin() + static_cast<std::ptrdiff_t>(i) * taps_);
  }
  for (const int32_t value : values_) {
    highs_.push_back(static_cast<int16_t>(value >> kResizeSplit));
    lows_.push_back(static_cast<int16_t>(value & ((1 << kResizeSplit) - 1)));
  }
}

AxisView ResizeAxis::view() const {
  AxisView view;
  view.out_size = static_cast<int32_t>(firsts_.size());
  view.taps = taps_;
  view.firsts = firsts_.data();
  view.counts = counts_.data();
  view.values = values_.data();
  view.highs = highs_.data();
  view.lows = lows_.data();
  return view;
}

size_t ResizeAxis::reach() const {
  const int32_t last = *std::max_element(firsts_.begin(), firsts_.end());
  return static_cast<size_t>(last + taps_) * 3 + kResizeSlack;
}

std::shared_ptr<const ResizeAxis> resize_axis(int64_t in_size, int64_t out_size) {
  constexpr size_t kLargestKept = size_t{1} << 20;
  static AxisCache cache;
  const AxisKey key{in_size, out_size};
  std::shared_ptr<const ResizeAxis> axis = cache.find(key);
  if (axis == nullptr) {
    axis = std::make_shared<const ResizeAxis>(in_size, out_size);
    if (axis->bytes() <= kLargestKept) {
      cache.add(key, axis);
    }
  }
  return axis;
}

}  // namespace minimind::detail
