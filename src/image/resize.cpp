#include "minimind/image/resize.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <vector>

#include "image/resize_axis.h"
#include "image/resize_kernels.h"
#include "minimind/base/error.h"

namespace minimind {
namespace detail {
namespace {

constexpr int64_t kMaxResizedSide = 65'535;

size_t rounded_up(size_t value, size_t step) {
  return (value + step - 1) / step * step;
}

/// Rows of interleaved RGB inside a readable block of `size` bytes.
struct SourceRows {
  const uint8_t* data;
  size_t size;
  size_t stride;
  size_t count;
};

/// Rows that a pass has written, 8 bits per sample. If `plane` > 0, a row holds its red, green and blue samples one
/// after the other, `plane` bytes apart.
struct PassRows {
  std::unique_ptr<uint8_t[]> data;
  size_t stride = 0;
  size_t plane = 0;

  const uint8_t* row(size_t y, size_t channel) const { return data.get() + y * stride + channel * plane; }
};

SourceRows rows_of(const Image& image) {
  return {image.pixels.data(), image.pixels.size(), static_cast<size_t>(image.width) * 3,
          static_cast<size_t>(image.height)};
}

PassRows horizontal_pass(const SourceRows& in, const ResizeAxis& axis, bool planar, const ResizeKernels& kernels) {
  const AxisView view = axis.view();
  const auto width = static_cast<size_t>(view.out_size);
  PassRows out;
  out.plane = planar ? rounded_up(width, 16) : 0;
  out.stride = planar ? 3 * out.plane : rounded_up(rounded_up(width, 4) * 3, 16) + 16;
  out.data.reset(new uint8_t[out.stride * in.count + kResizeSlack]);
  // Kernels read a little past a row. If that would leave the block, the last rows go through a padded copy.
  const size_t reach = axis.reach();
  const size_t safe = in.size >= reach ? std::min(in.count, (in.size - reach) / in.stride + 1) : 0;
  kernels.horizontal(in.data, in.stride, static_cast<int64_t>(safe), view, {out.data.get(), out.stride, out.plane});
  if (safe < in.count) {
    const size_t rest = in.count - safe;
    std::vector<uint8_t> padded(rest * in.stride + reach);
    std::memcpy(padded.data(), in.data + safe * in.stride, rest * in.stride);
    kernels.horizontal(padded.data(), in.stride, static_cast<int64_t>(rest), view,
                       {out.data.get() + safe * out.stride, out.stride, out.plane});
  }
  return out;
}

/// Resizes the columns into `storage`. `slack` zero bytes behind the last row may be read.
SourceRows vertical_pass(const SourceRows& in, const ResizeAxis& axis, size_t slack, const ResizeKernels& kernels,
                         std::unique_ptr<uint8_t[]>& storage) {
  const AxisView view = axis.view();
  const auto count = static_cast<size_t>(view.out_size);
  storage.reset(new uint8_t[in.stride * count + slack]);
  std::memset(storage.get() + in.stride * count, 0, slack);
  for (size_t y = 0; y < count; ++y) {
    kernels.vertical(in.data, in.stride, static_cast<int64_t>(y), view, in.stride, storage.get() + y * in.stride);
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

/// Pillow 13 starts with the vertical pass if that shrinks the image clearly more. The order changes the result,
/// because each pass rounds to 8 bits.
bool vertical_comes_first(const Image& image, int64_t width, int64_t height) {
  return height < image.height && image.height - height > 2 * (image.width - width);
}

/// The output: rows of `width` bytes per channel. Interleaved images have one channel.
struct Destination {
  uint8_t* data;
  size_t channels;
  size_t width;
  size_t height;

  uint8_t* row(size_t y, size_t channel) const { return data + (channel * height + y) * width; }
};

// An axis that keeps its size has the coefficients 0, 1, 0. The pass is then an exact copy, and Pillow skips it.
void resize_into(const Image& image, int64_t width, int64_t height, bool planar, const ResizeKernels& kernels,
                 uint8_t* out) {
  const std::shared_ptr<const ResizeAxis> across = resize_axis(image.width, width);
  const std::shared_ptr<const ResizeAxis> down = resize_axis(image.height, height);
  const Destination to{out, planar ? size_t{3} : size_t{1}, static_cast<size_t>(width) * (planar ? 1 : 3),
                       static_cast<size_t>(height)};
  if (vertical_comes_first(image, width, height)) {
    std::unique_ptr<uint8_t[]> storage;
    const SourceRows half = vertical_pass(rows_of(image), *down, across->reach(), kernels, storage);
    const PassRows whole = horizontal_pass(half, *across, planar, kernels);
    for (size_t channel = 0; channel < to.channels; ++channel) {
      for (size_t y = 0; y < to.height; ++y) {
        std::memcpy(to.row(y, channel), whole.row(y, channel), to.width);
      }
    }
    return;
  }
  const PassRows half = horizontal_pass(rows_of(image), *across, planar, kernels);
  const AxisView view = down->view();
  for (size_t y = 0; y < to.height; ++y) {
    for (size_t channel = 0; channel < to.channels; ++channel) {
      kernels.vertical(half.row(0, channel), half.stride, static_cast<int64_t>(y), view, to.width, to.row(y, channel));
    }
  }
}

}  // namespace

Image resize_interleaved(const Image& image, int64_t width, int64_t height, const ResizeKernels& kernels) {
  check_resize(image, width, height);
  Image result;
  result.width = width;
  result.height = height;
  result.pixels.resize(static_cast<size_t>(width) * static_cast<size_t>(height) * 3);
  resize_into(image, width, height, false, kernels, result.pixels.data());
  return result;
}

void resize_planar(const Image& image, int64_t size, uint8_t* out, const ResizeKernels& kernels) {
  check_resize(image, size, size);
  resize_into(image, size, size, true, kernels, out);
}

}  // namespace detail

Image resize_bicubic(const Image& image, int64_t width, int64_t height) {
  return detail::resize_interleaved(image, width, height, detail::best_resize());
}

void resize_to_planar(const Image& image, int64_t size, uint8_t* out) {
  detail::resize_planar(image, size, out, detail::best_resize());
}

}  // namespace minimind
