#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "minimind/image/image.h"

/// Small files of each format, for tests.
namespace minimind::testing {

/// Noise that depends on the seed alone.
Image noise_image(int64_t width, int64_t height, uint32_t seed);

struct SampleFile {
  std::string format;
  std::string bytes;
};

/// One whole file of 13x9 pixels for each format that decode_image reads.
std::vector<SampleFile> sample_files();

/// Animated WebP: a canvas of the given width and 9 rows, one frame of noise_image(13, 9, 1) at column `x` (even).
std::string animated_webp(int64_t canvas_width, int64_t x);

/// Palette image, one byte a pixel. Pixel i has index i % 256; entry i is (i, 255 - i, 7).
std::string palette_bmp(uint16_t width, uint16_t height);

/// GIF of one row, 4 colours: red, green, blue, grey 9; the pixels are 0 1 2 3 3 3 3 0, index 1 is transparent.
std::string four_color_gif();

/// Progressive grey JPEG of `side` x `side` pixels whose last scan stands `repeats` times; it has data for 16x16.
std::string many_scans_jpeg(int repeats, uint16_t side = 16);

}  // namespace minimind::testing
