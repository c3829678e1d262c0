#pragma once

// Plain types only: a source compiled for a newer instruction set must not instantiate templates that the rest of the
// program uses too.
#include <stddef.h>
#include <stdint.h>

namespace minimind {
struct Image;
}

namespace minimind::detail {

/// Coefficients of one axis. Output i is the sum over t < counts[i] of values[i][t] * input[firsts[i] + t], rounded,
/// shifted right by kResizeBits and clamped to 0..255.
struct AxisView {
  int32_t out_size = 0;
  int32_t taps = 0;  ///< room for each output, a multiple of 4; zeros behind counts[i]
  const int32_t* firsts = nullptr;
  const int32_t* counts = nullptr;
  const int32_t* values = nullptr;  ///< [out_size][taps], fixed point
  const int16_t* highs = nullptr;   ///< value >> 11
  const int16_t* lows = nullptr;    ///< value & 2047
};

constexpr int kResizeBits = 22;
constexpr int kResizeSplit = 11;
/// Bytes that the horizontal kernel may read behind a row's last pixel.
constexpr size_t kResizeSlack = 32;

/// Rows that hold their red, green and blue samples one after the other, 8 bits each.
struct PlanarRows {
  uint8_t* data = nullptr;
  size_t plane = 0;  ///< bytes of a channel in a row, a multiple of 16

  size_t stride() const { return 3 * plane; }
  uint8_t* row(size_t y, size_t channel) const { return data + y * stride() + channel * plane; }
};

struct ResizeKernels {
  const char* name;
  /// Resizes `rows` rows of interleaved RGB, `in_stride` bytes apart. May write up to the end of each plane.
  void (*horizontal)(const uint8_t* in, size_t in_stride, int64_t rows, const AxisView& axis, const PlanarRows& out);
  /// Computes `width` bytes of output row `y` from rows `in_stride` bytes apart. Touches no other bytes.
  void (*vertical)(const uint8_t* in, size_t in_stride, int64_t y, const AxisView& axis, size_t width, uint8_t* out);
};

extern const ResizeKernels kScalarResize;
/// Null if the program was built for another processor family, or if this processor lacks the instructions.
const ResizeKernels* avx2_resize();
/// The fastest kernels that this processor runs.
const ResizeKernels& best_resize();

/// Resizes as resize_bicubic() does, by the given kernels, and writes planar bytes [3, height, width] to `out`.
void resize_planar(const Image& image, int64_t width, int64_t height, uint8_t* out, const ResizeKernels& kernels);

}  // namespace minimind::detail
