#pragma once

#include <cstdint>

#include "minimind/image/image.h"

namespace minimind {

/// Resizes by bicubic interpolation with antialiasing, byte for byte as Pillow 13's
/// Image.resize((width, height), BICUBIC) on RGB. Each of the two passes rounds to 8 bits. The vertical pass comes
/// first if it shrinks the image by more than twice what the horizontal pass does (Pillow before 13 always starts
/// horizontally, which changes a few levels). Throws Error unless the sides are 1 to 65535.
Image resize_bicubic(const Image& image, int64_t width, int64_t height);

/// The version of the bytes that resize_to_planar() gives. Count it up if they change: cached features are then stale.
inline constexpr int kPreprocessingVersion = 1;

/// Resizes to size x size and writes the bytes planar, [3, size, size], to `out`. The model normalises them,
/// (x / 255 - mean) / std, on its device.
void resize_to_planar(const Image& image, int64_t size, uint8_t* out);

}  // namespace minimind
