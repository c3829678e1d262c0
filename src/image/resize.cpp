#include "image/detail/resize.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <vector>

#include "image/detail/resize_axis.h"
#include "minimind/base/error.h"
#include "minimind/image/image.h"

namespace minimind {
namespace detail {
namespace {

constexpr int64_t kMaxResizedSide = 65'535;

size_t rounded_up(size_t value, size_t step) {
  return (value + step - 1) / step * step;
}

/// The picture after the horizontal pass, 8 bits a sample. With planes, a row holds its red, green and blue one after
/// the other.
struct HalfResized {
  std::unique_ptr<uint8_t[]> data;
  size_t stride = 0;
  size_t plane = 0;
};

HalfResized resize_rows(const Image& image, int64_t width, bool planar, const ResizeKernels& kernels) {
  const std::shared_ptr<const ResizeAxis> axis = resize_axis(image.width, width);
  HalfResized half;
  const auto out_width = static_cast<size_t>(width);
  half.plane = planar ? rounded_up(out_width, 16) : 0;
  half.stride = planar ? 3 * half.plane : rounded_up(rounded_up(out_width, 4) * 3, 16) + 16;
  const auto rows = static_cast<size_t>(image.height);
  half.data.reset(new uint8_t[half.stride * rows + kResizeSlack]);
  const size_t in_stride = static_cast<size_t>(image.width) * 3;
  const size_t reach = axis->reach();
  const size_t size = image.pixels.size();
  // Kernels read a little past a row: the last rows, where that would leave the picture, go through a padded copy.
  const size_t safe = size >= reach ? std::min(rows, (size - reach) / in_stride + 1) : 0;
  kernels.horizontal(image.pixels.data(), in_stride, static_cast<int64_t>(safe), axis->view(),
                     {half.data.get(), half.stride, half.plane});
  if (safe < rows) {
    std::vector<uint8_t> rest((rows - safe) * in_stride + reach);
    std::memcpy(rest.data(), image.pixels.data() + safe * in_stride, (rows - safe) * in_stride);
    kernels.horizontal(rest.data(), in_stride, static_cast<int64_t>(rows - safe), axis->view(),
                       {half.data.get() + safe * half.stride, half.stride, half.plane});
  }
  return half;
}

void check_resize(const Image& image, int64_t width, int64_t height) {
  if (image.width < 1 || image.height < 1 ||
      image.pixels.size() != static_cast<size_t>(image.width) * static_cast<size_t>(image.height) * 3) {
    throw std::logic_error("resize: the picture has no pixels, or not width * height * 3 of them");
  }
  require(width >= 1 && height >= 1 && width <= kMaxResizedSide && height <= kMaxResizedSide,
          "resize: expected sides of 1 to ", kMaxResizedSide, ", found ", width, "x", height,
          "; give another picture size");
}

}  // namespace

// An axis that keeps its size has the coefficients 0, 1, 0: the pass is then an exact copy, as Pillow's skipping it is.
Image resize_interleaved(const Image& image, int64_t width, int64_t height, const ResizeKernels& kernels) {
  check_resize(image, width, height);
  const HalfResized half = resize_rows(image, width, false, kernels);
  const std::shared_ptr<const ResizeAxis> axis = resize_axis(image.height, height);
  Image result;
  result.width = width;
  result.height = height;
  const size_t row = static_cast<size_t>(width) * 3;
  result.pixels.resize(row * static_cast<size_t>(height));
  for (int64_t y = 0; y < height; ++y) {
    kernels.vertical(half.data.get(), half.stride, y, axis->view(), row,
                     result.pixels.data() + static_cast<size_t>(y) * row);
  }
  return result;
}

void resize_planar(const Image& image, int64_t size, uint8_t* out, const ResizeKernels& kernels) {
  check_resize(image, size, size);
  const HalfResized half = resize_rows(image, size, true, kernels);
  const std::shared_ptr<const ResizeAxis> axis = resize_axis(image.height, size);
  const auto side = static_cast<size_t>(size);
  for (int64_t y = 0; y < size; ++y) {
    for (size_t channel = 0; channel < 3; ++channel) {
      kernels.vertical(half.data.get() + channel * half.plane, half.stride, y, axis->view(), side,
                       out + (channel * side + static_cast<size_t>(y)) * side);
    }
  }
}

}  // namespace detail

Image resize_bicubic(const Image& image, int64_t width, int64_t height) {
  return detail::resize_interleaved(image, width, height, detail::best_resize());
}

void resize_to_planar(const Image& image, int64_t size, uint8_t* out) {
  detail::resize_planar(image, size, out, detail::best_resize());
}

}  // namespace minimind
