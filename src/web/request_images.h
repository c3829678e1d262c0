#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "minimind/image/decode.h"
#include "minimind/image/image.h"
#include "web/chat_request.h"

namespace minimind {

struct ImageReading {
  DecodeLimits limits;                   ///< of one image
  int64_t side = 0;                      ///< of the encoder, in pixels
  std::function<void()> require_wanted;  ///< throws ApiError if the client has gone or the time is over
  std::function<int64_t()> free_memory;  ///< bytes that the process may still take
};

/// Decodes the images of a request one after another and resizes them to the encoder's side, so that waiting requests
/// take little memory. Throws ApiError: 400 if one is no image or all take too much work, 413 if one takes more memory
/// than images of the largest size may, 503 if it takes more than the process has.
std::vector<Image> read_request_images(const std::vector<RequestImage>& images, const ImageReading& reading);

}  // namespace minimind
