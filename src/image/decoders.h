#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "minimind/image/image.h"

namespace minimind::detail {

/// What a decoder of one format gets: the whole file, its name for messages and the limits.
struct DecodeRequest {
  std::string_view bytes;
  const std::string& name;
  const DecodeLimits& limits;

  const uint8_t* data() const { return reinterpret_cast<const uint8_t*>(bytes.data()); }
};

/// Throws Error: "NAME: expected a whole FORMAT image, found WHAT; …".
[[noreturn]] void fail_image(const DecodeRequest& request, const char* format, const std::string& what);

/// Throws Error: the caller's `go_on` has said no.
[[noreturn]] void fail_stopped(const DecodeRequest& request);

/// A black image of this size. Throws Error, before anything is allocated, where the size is not positive or above
/// the limits, or where the caller does not want to go on.
Image new_image(const DecodeRequest& request, const char* format, int64_t width, int64_t height);

/// Each throws Error for a file that is damaged, cut short, of an unsupported kind or above the limits.
Image decode_jpeg(const DecodeRequest& request);
Image decode_png(const DecodeRequest& request);
Image decode_bmp(const DecodeRequest& request);
Image decode_gif(const DecodeRequest& request);
Image decode_webp(const DecodeRequest& request);

}  // namespace minimind::detail
