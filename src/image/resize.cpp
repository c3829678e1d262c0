#include "minimind/image/resize.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <list>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <vector>

#include "image/resize_kernels.h"
#include "minimind/base/error.h"

namespace minimind {
namespace detail {
namespace {

constexpr int64_t kMaxResizedSide = 65'535;
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

/// Pillow's bicubic (a = -0.5, antialiased) coefficients of one axis in fixed point.
class ResizeAxis {
 public:
  ResizeAxis(int64_t in_size, int64_t out_size);
  ResizeAxis(const ResizeAxis&) = delete;  // its view points into it
  const AxisView& view() const { return view_; }
  /// How many bytes a kernel may read from the start of an interleaved row.
  size_t reach() const { return static_cast<size_t>(std::ranges::max(firsts_) + view_.taps) * 3 + kResizeSlack; }
  size_t bytes() const { return values_.size() * 8 + firsts_.size() * 8; }

 private:
  std::vector<int32_t> firsts_;
  std::vector<int32_t> counts_;
  std::vector<int32_t> values_;
  std::vector<int16_t> highs_;
  std::vector<int16_t> lows_;
  AxisView view_;
};

// Floating-point operations in Pillow's order, so that the rounded coefficients are equal.
ResizeAxis::ResizeAxis(int64_t in_size, int64_t out_size) {
  const double scale = static_cast<double>(in_size) / static_cast<double>(out_size);
  const double filter_scale = std::max(scale, 1.0);
  const double reach = kBicubicReach * filter_scale;
  const double inverse = 1.0 / filter_scale;
  std::vector<std::vector<int32_t>> rows(static_cast<size_t>(out_size));
  std::vector<double> weights;
  int32_t taps = 0;
  for (int64_t i = 0; i < out_size; ++i) {
    const double center = (static_cast<double>(i) + 0.5) * scale;
    // Pillow cuts these sums towards zero; rounding would differ.
    // NOLINTBEGIN(bugprone-incorrect-roundings)
    const int64_t first = std::max<int64_t>(static_cast<int64_t>(center - reach + 0.5), 0);
    const int64_t last = std::min(static_cast<int64_t>(center + reach + 0.5), in_size);
    // NOLINTEND(bugprone-incorrect-roundings)
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
    taps = std::max(taps, (counts_.back() + 3) / 4 * 4);
  }
  for (std::vector<int32_t>& row : rows) {
    row.resize(static_cast<size_t>(taps));
    values_.insert(values_.end(), row.begin(), row.end());
  }
  for (const int32_t value : values_) {
    highs_.push_back(static_cast<int16_t>(value >> kResizeSplit));
    lows_.push_back(static_cast<int16_t>(value & ((1 << kResizeSplit) - 1)));
  }
  view_ = {static_cast<int32_t>(out_size),
           taps,
           firsts_.data(),
           counts_.data(),
           values_.data(),
           highs_.data(),
           lows_.data()};
}

/// The coefficients from a cache that all threads share: a data set has few image sizes, and computing the coefficients
/// costs as much as a resize.
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

uint8_t rounded_sample(int32_t sum) {
  return static_cast<uint8_t>(std::clamp((sum + (1 << (kResizeBits - 1))) >> kResizeBits, 0, 255));
}

void scalar_horizontal(const uint8_t* in, size_t in_stride, int64_t rows, const AxisView& axis, const PlanarRows& out) {
  for (int64_t y = 0; y < rows; ++y) {
    const uint8_t* row = in + static_cast<size_t>(y) * in_stride;
    uint8_t* target = out.row(static_cast<size_t>(y), 0);
    for (int32_t x = 0; x < axis.out_size; ++x, ++target) {
      const uint8_t* pixel = row + static_cast<size_t>(axis.firsts[x]) * 3;
      const int32_t* values = axis.values + static_cast<size_t>(x) * static_cast<size_t>(axis.taps);
      int32_t red = 0;
      int32_t green = 0;
      int32_t blue = 0;
      for (int32_t t = 0; t < axis.counts[x]; ++t, pixel += 3) {
        red += pixel[0] * values[t];
        green += pixel[1] * values[t];
        blue += pixel[2] * values[t];
      }
      target[0] = rounded_sample(red);
      target[out.plane] = rounded_sample(green);
      target[2 * out.plane] = rounded_sample(blue);
    }
  }
}

void scalar_vertical(const uint8_t* in, size_t in_stride, int64_t y, const AxisView& axis, size_t width, uint8_t* out) {
  constexpr size_t kBlock = 256;
  const uint8_t* first = in + static_cast<size_t>(axis.firsts[y]) * in_stride;
  const int32_t* values = axis.values + static_cast<size_t>(y) * static_cast<size_t>(axis.taps);
  int32_t sums[kBlock];
  for (size_t begin = 0; begin < width; begin += kBlock) {
    const size_t count = std::min(width - begin, kBlock);
    std::fill_n(sums, count, 0);
    for (int32_t t = 0; t < axis.counts[y]; ++t) {
      const uint8_t* row = first + static_cast<size_t>(t) * in_stride + begin;
      for (size_t x = 0; x < count; ++x) {
        sums[x] += row[x] * values[t];
      }
    }
    std::transform(sums, sums + count, out + begin, rounded_sample);
  }
}

/// Rows of interleaved RGB inside a readable block of `size` bytes.
struct SourceRows {
  const uint8_t* data;
  size_t size;
  size_t stride;
  size_t count;
};

/// Resizes the rows into `storage`.
PlanarRows horizontal_pass(const SourceRows& in, const ResizeAxis& axis, const ResizeKernels& kernels,
                           std::unique_ptr<uint8_t[]>& storage) {
  const size_t plane = (static_cast<size_t>(axis.view().out_size) + 15) / 16 * 16;
  storage.reset(new uint8_t[3 * plane * in.count]);
  const PlanarRows out{storage.get(), plane};
  // Kernels read a little past a row. If that would leave the block, the last rows go through a padded copy.
  const size_t reach = axis.reach();
  const size_t safe = in.size >= reach ? std::min(in.count, (in.size - reach) / in.stride + 1) : 0;
  kernels.horizontal(in.data, in.stride, static_cast<int64_t>(safe), axis.view(), out);
  if (safe < in.count) {
    const size_t rest = in.count - safe;
    std::vector<uint8_t> padded(rest * in.stride + reach);
    std::memcpy(padded.data(), in.data + safe * in.stride, rest * in.stride);
    kernels.horizontal(padded.data(), in.stride, static_cast<int64_t>(rest), axis.view(), {out.row(safe, 0), plane});
  }
  return out;
}

/// Resizes the columns into `storage`. `slack` zero bytes behind the last row may be read.
SourceRows vertical_pass(const SourceRows& in, const ResizeAxis& axis, size_t slack, const ResizeKernels& kernels,
                         std::unique_ptr<uint8_t[]>& storage) {
  const auto count = static_cast<size_t>(axis.view().out_size);
  storage.reset(new uint8_t[in.stride * count + slack]);
  std::memset(storage.get() + in.stride * count, 0, slack);
  for (size_t y = 0; y < count; ++y) {
    kernels.vertical(in.data, in.stride, static_cast<int64_t>(y), axis.view(), in.stride,
                     storage.get() + y * in.stride);
  }
  return {storage.get(), in.stride * count + slack, in.stride, count};
}

void check_resize(const Image& image, int64_t width, int64_t height) {
  if (!image.is_whole()) {
    throw std::logic_error("resize: the image has no pixels, or not width * height * 3 of them");
  }
  require(width >= 1 && height >= 1 && width <= kMaxResizedSide && height <= kMaxResizedSide,
          "resize: expected sides of 1 to ", kMaxResizedSide, ", found ", width, "x", height,
          "; give another image size");
}

}  // namespace

const ResizeKernels kScalarResize = {"scalar", scalar_horizontal, scalar_vertical};

const ResizeKernels& best_resize() {
  const ResizeKernels* avx2 = avx2_resize();
  return avx2 != nullptr ? *avx2 : kScalarResize;
}

// An axis that keeps its size has the coefficients 0, 1, 0. The pass is then an exact copy, and Pillow skips it.
void resize_planar(const Image& image, int64_t width, int64_t height, uint8_t* out, const ResizeKernels& kernels) {
  check_resize(image, width, height);
  const std::shared_ptr<const ResizeAxis> across = resize_axis(image.width, width);
  const std::shared_ptr<const ResizeAxis> down = resize_axis(image.height, height);
  // Pillow 13 starts with the vertical pass if that shrinks the image clearly more. The order changes the result,
  // because each pass rounds to 8 bits.
  const bool down_first = height < image.height && image.height - height > 2 * (image.width - width);
  SourceRows in{image.pixels.data(), image.pixels.size(), static_cast<size_t>(image.width) * 3,
                static_cast<size_t>(image.height)};
  std::unique_ptr<uint8_t[]> columns_done, rows_done;
  if (down_first) {
    in = vertical_pass(in, *down, across->reach(), kernels, columns_done);
  }
  const PlanarRows rows = horizontal_pass(in, *across, kernels, rows_done);
  const auto row_bytes = static_cast<size_t>(width), count = static_cast<size_t>(height);
  for (size_t y = 0; y < count; ++y) {
    for (size_t channel = 0; channel < 3; ++channel) {
      uint8_t* target = out + (channel * count + y) * row_bytes;
      if (down_first) {
        std::memcpy(target, rows.row(y, channel), row_bytes);
      } else {
        kernels.vertical(rows.row(0, channel), rows.stride(), static_cast<int64_t>(y), down->view(), row_bytes, target);
      }
    }
  }
}

}  // namespace detail

Image resize_bicubic(const Image& image, int64_t width, int64_t height) {
  detail::check_resize(image, width, height);
  Image result{width, height, std::vector<uint8_t>(static_cast<size_t>(width * height * 3))};
  std::vector<uint8_t> planes(result.pixels.size());
  detail::resize_planar(image, width, height, planes.data(), detail::best_resize());
  const size_t plane = planes.size() / 3;
  for (size_t i = 0; i < plane; ++i) {
    for (size_t channel = 0; channel < 3; ++channel) {
      result.pixels[3 * i + channel] = planes[channel * plane + i];
    }
  }
  return result;
}

void resize_to_planar(const Image& image, int64_t size, uint8_t* out) {
  detail::resize_planar(image, size, size, out, detail::best_resize());
}

}  // namespace minimind
