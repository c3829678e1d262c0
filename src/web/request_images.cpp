#include "web/request_images.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "minimind/base/error.h"
#include "minimind/image/resize.h"
#include "web/api_error.h"

namespace minimind {

namespace {

/// Pixels that one request may make the server read, in largest images. A progressive JPEG counts once a scan (real
/// files have about ten scans), because other requests wait meanwhile.
constexpr int64_t kImageBudget = 20;

/// Bytes a pixel of the largest image: enough for all files but PNG images with 16 bits a sample, and at least a small
/// image's worth.
constexpr int64_t kBytesPerPixel = 10;
constexpr int64_t kLeastImageBytes = int64_t{64} << 20;

/// The share of the free memory that one image may take.
constexpr double kShareOfFree = 0.8;

Image read_image(const RequestImage& image, const DecodeLimits& limits, const ImageReading& reading) {
  const int64_t most = std::max(kLeastImageBytes, kBytesPerPixel * limits.max_pixels);
  const auto free = static_cast<int64_t>(kShareOfFree * static_cast<double>(reading.free_memory()));
  DecodeLimits bounded = limits;
  bounded.max_bytes = std::min(most, free);
  try {
    return resize_bicubic(decode_image(image.bytes, image.where, bounded), reading.side, reading.side);
  } catch (const ImageTakesTooMuch& error) {
    const bool never_fits = error.bytes() > most;
    throw ApiError(never_fits ? 413 : 503,
                   never_fits ? error.what() : concat(error.what(), ", or try again later: the server has no more"),
                   image.where, never_fits ? "image_too_large" : "out_of_memory");
  }
}

}  // namespace

std::vector<Image> read_request_images(const std::vector<RequestImage>& images, const ImageReading& reading) {
  const int64_t budget = kImageBudget * reading.limits.max_pixels;
  int64_t pixels = 0;
  DecodeLimits limits = reading.limits;
  limits.go_on = [&](int64_t more) {
    pixels += more;
    return pixels <= budget && (!reading.limits.go_on || reading.limits.go_on(more));
  };
  std::vector<Image> read;
  for (const RequestImage& image : images) {
    try {
      read.push_back(read_image(image, limits, reading));
    } catch (const ApiError&) {
      throw;
    } catch (const Error& error) {
      reading.require_wanted();
      const std::string message =
          pixels <= budget ? error.what()
                           : concat(image.where, ": expected images of at most ", budget,
                                    " pixels in a request (a progressive JPEG counts once a scan), found more; make "
                                    "them smaller or send fewer");
      throw ApiError(400, message, image.where, "invalid_image");
    }
  }
  reading.require_wanted();
  return read;
}

}  // namespace minimind
