#include <climits>
#include <cstdlib>
#include <stdexcept>

#include "minimind/base/error.h"
#include "minimind/image/encode.h"

#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STBI_WRITE_NO_STDIO
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#include <stb/stb_image_write.h>
#pragma GCC diagnostic pop

namespace minimind {
namespace {

void append_png(void* context, void* data, int size) {
  static_cast<std::string*>(context)->append(static_cast<const char*>(data), static_cast<size_t>(size));
}

}  // namespace

std::string encode_png(const Image& image) {
  if (!image.is_whole()) {
    throw std::logic_error("encode_png: the image has no pixels, or not width * height * 3 of them");
  }
  require(image.pixels.size() < INT_MAX / 4, "encode_png: expected an image of less than 512 MiB, found ", image.width,
          "x", image.height, "; make it smaller");
  std::string result;
  const int ok =
      stbi_write_png_to_func(append_png, &result, static_cast<int>(image.width), static_cast<int>(image.height), 3,
                             image.pixels.data(), static_cast<int>(image.width * 3));
  require(ok != 0, "encode_png: out of memory for ", image.width, "x", image.height, " pixels; make the image smaller");
  return result;
}

}  // namespace minimind
