#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "minimind/image/image.h"

namespace minimind {
struct DecodeLimits;
}

namespace minimind::detail {

/// What the decoder of a format gets: the whole file, its name for messages, and the limits.
struct DecodeRequest {
  std::string_view bytes;
  const std::string& name;
  const DecodeLimits& limits;

  const uint8_t* data() const { return reinterpret_cast<const uint8_t*>(bytes.data()); }
};

inline constexpr const char* kCutShort = "one that is cut short";

/// Throws Error: "NAME: expected a whole FORMAT image, found WHAT; …".
[[noreturn]] void fail_image(const DecodeRequest& request, const char* format, const std::string& what);

/// Throws Error: the caller's `go_on` returned false.
[[noreturn]] void fail_stopped(const DecodeRequest& request);

/// `count` bytes of the file at `offset`. Throws Error if the file is shorter.
std::string_view file_bytes(const DecodeRequest& request, const char* format, size_t offset, size_t count);

struct ImageSize {
  int64_t width = 0;
  int64_t height = 0;
  int64_t working_bytes = 0;  ///< what decoding takes at once beside the image

  int64_t pixels() const { return width * height; }
};

/// Throws Error if a side is not positive or above the limits.
void check_pixels(const DecodeRequest& request, const char* format, int64_t width, int64_t height);

/// Throws Error after check_pixels() if the memory is above the limit, or if `go_on` returns false.
void check_size(const DecodeRequest& request, const char* format, const ImageSize& size);

/// A black image of this size, after check_size().
Image new_image(const DecodeRequest& request, const char* format, const ImageSize& size);

/// The RGB colour of each palette index.
using Palette = std::array<std::array<uint8_t, 3>, 256>;

/// Index i as the grey level i.
Palette grey_palette();

/// Sets the colours behind the first `count`, which a file gives: to black, or to grey levels if the file's colours are
/// grey levels too, as in Pillow.
void complete_palette(Palette& palette, size_t count);

/// Each throws Error for a file that is damaged, cut short, of an unsupported kind, or above the limits.
Image decode_jpeg(const DecodeRequest& request);
Image decode_png(const DecodeRequest& request);
Image decode_bmp(const DecodeRequest& request);
Image decode_gif(const DecodeRequest& request);
Image decode_webp(const DecodeRequest& request);

}  // namespace minimind::detail
