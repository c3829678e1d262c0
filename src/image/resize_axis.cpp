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

}  // namespace

// Floating-point operations in Pillow's order, so that the rounded coefficients are equal.
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
    // Zeros at the end change nothing and cost time.
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
  constexpr size_t kMaxEntries = 64;
  constexpr size_t kMaxBytes = size_t{1} << 20;
  struct Entry {
    int64_t in_size;
    int64_t out_size;
    std::shared_ptr<const ResizeAxis> axis;
  };
  static std::mutex mutex;
  static std::list<Entry> entries;  // the most recently used first
  {
    const std::lock_guard lock(mutex);
    const auto found = std::ranges::find_if(
        entries, [&](const Entry& entry) { return entry.in_size == in_size && entry.out_size == out_size; });
    if (found != entries.end()) {
      entries.splice(entries.begin(), entries, found);
      return found->axis;
    }
  }
  auto axis = std::make_shared<const ResizeAxis>(in_size, out_size);
  if (axis->bytes() <= kMaxBytes) {
    const std::lock_guard lock(mutex);
    entries.push_front({in_size, out_size, axis});
    if (entries.size() > kMaxEntries) {
      entries.pop_back();
    }
  }
  return axis;
}

}  // namespace minimind::detail
