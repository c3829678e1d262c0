#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <string>
#include <string_view>

#include "minimind/base/error.h"
#include "minimind/image/image.h"

namespace minimind {

struct DecodeLimits {
  int64_t max_pixels = 178'956'970;  ///< Pillow's own limit against decompression bombs
  int64_t max_side = 65'535;
  int64_t max_bytes = std::numeric_limits<int64_t>::max();  ///< memory that decoding takes at once, image included
  /// Called with the number of pixels before they are decoded. A progressive JPEG calls it again: with the number of
  /// pixels before each further scan, with 0 after every few rows. If it returns false, decoding ends with an Error. It
  /// must not throw. May be empty.
  std::function<bool(int64_t pixels)> go_on = {};
};

/// An image whose decoding would take more than DecodeLimits::max_bytes. Thrown before the memory is taken.
class ImageTakesTooMuch : public Error {
 public:
  ImageTakesTooMuch(const std::string& message, int64_t bytes) : Error(message), bytes_(bytes) {}
  int64_t bytes() const { return bytes_; }

 private:
  int64_t bytes_;
};

/// Decodes JPEG, PNG, BMP, GIF and WebP (of an animation the first frame) to RGB, byte for byte as Pillow's
/// `.convert("RGB")`: alpha is dropped, EXIF rotation is ignored (SPEC.md section 2). `name` stands in messages. Throws
/// Error with the name, what was expected and what was found; std::bad_alloc if memory ends. Safe to call from several
/// threads.
Image decode_image(std::string_view bytes, const std::string& name, const DecodeLimits& limits = {});

/// Reads the file and decodes it.
Image load_image(const std::filesystem::path& path, const DecodeLimits& limits = {});

/// Whether the name ends, in any case, in .jpg, .jpeg, .jpe, .jfif, .jif, .png, .bmp, .dib, .gif or .webp.
bool has_image_name(const std::filesystem::path& path);

}  // namespace minimind
