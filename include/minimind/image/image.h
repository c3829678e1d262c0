#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace minimind {

/// 8-bit RGB, rows from the top, interleaved: pixels[(y * width + x) * 3 + channel].
struct Image {
  int64_t width = 0;
  int64_t height = 0;
  std::vector<uint8_t> pixels;
};

struct DecodeLimits {
  int64_t max_pixels = 178'956'970;  ///< Pillow's own limit against decompression bombs
  int64_t max_side = 65'535;
  /// Asked before the pixels of an image are read, with their number; for a progressive JPEG with their number again
  /// before each further scan, and with 0 after every few rows: false ends the reading with an Error. Must not throw.
  /// May be empty.
  std::function<bool(int64_t pixels)> go_on;
};

/// Decodes JPEG, PNG, BMP, GIF (first frame) and WebP to RGB, as Pillow's `.convert("RGB")` does (alpha dropped, no
/// EXIF rotation; SPEC.md section 2). `name` stands in messages. Throws Error with the name, what was expected and what
/// was found. Safe from several threads.
Image decode_image(std::string_view bytes, const std::string& name, const DecodeLimits& limits = {});

/// read_file and decode_image.
Image load_image(const std::filesystem::path& path, const DecodeLimits& limits = {});

/// Bicubic with antialiasing, byte for byte as Pillow 13's Image.resize((width, height), BICUBIC) on RGB. Two passes,
/// each rounded to 8 bits; the vertical one comes first where the height shrinks, by more than twice what the width
/// does (earlier versions always start horizontally: a few levels apart there). Sides of 1..65535, else Error.
Image resize_bicubic(const Image& image, int64_t width, int64_t height);

std::string encode_png(const Image& image);
/// quality 1..100.
std::string encode_jpeg(const Image& image, int quality);

/// What CLIP wants of an image. SPEC.md section 2; `preprocessor_config.json` may give other numbers.
struct ClipPreprocessing {
  int64_t image_size = 224;
  std::array<float, 3> mean = {0.48145466F, 0.4578275F, 0.40821073F};
  std::array<float, 3> std = {0.26862954F, 0.26130258F, 0.27577711F};
};

/// Reads `preprocessor_config.json` of a CLIP folder; the defaults where there is none.
ClipPreprocessing load_clip_preprocessing(const std::filesystem::path& clip_dir);

/// Counted up whenever the bytes that resize_to_planar() gives for a file change: what was kept of them is stale then.
inline constexpr int kPreprocessingVersion = 1;

/// Resizes to image_size x image_size and writes the bytes planar, [3, size, size], to `out`. Normalisation (x/255 -
/// mean)/std happens on the device, in the model.
void resize_to_planar(const Image& image, int64_t size, uint8_t* out);

}  // namespace minimind
