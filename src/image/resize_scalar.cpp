#include "image/resize_kernels.h"

namespace minimind::detail {
namespace {

uint8_t rounded_sample(int32_t sum) {
  const int32_t value = (sum + (1 << (kResizeBits - 1))) >> kResizeBits;
  return static_cast<uint8_t>(value < 0 ? 0 : value > 255 ? 255 : value);
}

void scalar_horizontal(const uint8_t* in, size_t in_stride, int64_t rows, const AxisView& axis,
                       const HorizontalOutput& out) {
  const size_t pixel_step = out.plane == 0 ? 3 : 1;
  const size_t channel_step = out.plane == 0 ? 1 : out.plane;
  for (int64_t y = 0; y < rows; ++y) {
    const uint8_t* row = in + static_cast<size_t>(y) * in_stride;
    uint8_t* target = out.data + static_cast<size_t>(y) * out.stride;
    for (int32_t x = 0; x < axis.out_size; ++x, target += pixel_step) {
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
      target[channel_step] = rounded_sample(green);
      target[2 * channel_step] = rounded_sample(blue);
    }
  }
}

void scalar_vertical(const uint8_t* in, size_t in_stride, int64_t y, const AxisView& axis, size_t width, uint8_t* out) {
  constexpr size_t kBlock = 256;
  const uint8_t* first = in + static_cast<size_t>(axis.firsts[y]) * in_stride;
  const int32_t* values = axis.values + static_cast<size_t>(y) * static_cast<size_t>(axis.taps);
  int32_t sums[kBlock];
  for (size_t begin = 0; begin < width; begin += kBlock) {
    const size_t count = width - begin < kBlock ? width - begin : kBlock;
    for (size_t x = 0; x < count; ++x) {
      sums[x] = 0;
    }
    for (int32_t t = 0; t < axis.counts[y]; ++t) {
      const uint8_t* row = first + static_cast<size_t>(t) * in_stride + begin;
      for (size_t x = 0; x < count; ++x) {
        sums[x] += row[x] * values[t];
      }
    }
    for (size_t x = 0; x < count; ++x) {
      out[begin + x] = rounded_sample(sums[x]);
    }
  }
}

}  // namespace

const ResizeKernels kScalarResize = {"scalar", scalar_horizontal, scalar_vertical};

const ResizeKernels& best_resize() {
  const ResizeKernels* avx2 = avx2_resize();
  return avx2 != nullptr ? *avx2 : kScalarResize;
}

}  // namespace minimind::detail
