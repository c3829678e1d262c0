// jpeglib.h wants size_t and FILE from its includer.
// clang-format off
#include <csetjmp>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <jpeglib.h>
// clang-format on

#include <stdexcept>

#include "minimind/base/error.h"
#include "minimind/image/encode.h"

namespace minimind {
namespace {

struct JpegWriter {
  jpeg_compress_struct info{};
  jpeg_error_mgr errors{};
  std::jmp_buf jump{};
  char message[JMSG_LENGTH_MAX + 1] = {};
  unsigned char* bytes = nullptr;
  unsigned long size = 0;  // NOLINT: libjpeg's type
  bool created = false;

  ~JpegWriter() {
    if (created) {
      jpeg_destroy_compress(&info);
    }
    std::free(bytes);
  }
};

void on_jpeg_write_error(j_common_ptr info) {
  auto& writer = *static_cast<JpegWriter*>(info->client_data);
  info->err->format_message(info, writer.message);
  std::longjmp(writer.jump, 1);
}

/// libjpeg reports errors by a call that must not return, so no object in here has a destructor. Returns false, with
/// the message in `writer`, on an error.
bool write_jpeg(JpegWriter& writer, const uint8_t* pixels, unsigned width, unsigned height, int quality) {
  writer.info.err = jpeg_std_error(&writer.errors);
  writer.errors.error_exit = on_jpeg_write_error;
  writer.info.client_data = &writer;
  if (setjmp(writer.jump) != 0) {
    return false;
  }
  jpeg_create_compress(&writer.info);
  writer.created = true;
  jpeg_mem_dest(&writer.info, &writer.bytes, &writer.size);
  writer.info.image_width = width;
  writer.info.image_height = height;
  writer.info.input_components = 3;
  writer.info.in_color_space = JCS_RGB;
  jpeg_set_defaults(&writer.info);
  jpeg_set_quality(&writer.info, quality, TRUE);
  jpeg_start_compress(&writer.info, TRUE);
  while (writer.info.next_scanline < height) {
    // libjpeg does not change the row, but its interface lacks the const.
    auto* row = const_cast<JSAMPLE*>(pixels + static_cast<size_t>(writer.info.next_scanline) * width * 3);
    jpeg_write_scanlines(&writer.info, &row, 1);
  }
  jpeg_finish_compress(&writer.info);
  return true;
}

}  // namespace

std::string encode_jpeg(const Image& image, int quality) {
  if (!image.is_whole()) {
    throw std::logic_error("encode_jpeg: the image has no pixels, or not width * height * 3 of them");
  }
  require(quality >= 1 && quality <= 100, "encode_jpeg: expected a quality of 1 to 100, found ", quality,
          "; give one in that range");
  require(image.width <= JPEG_MAX_DIMENSION && image.height <= JPEG_MAX_DIMENSION,
          "encode_jpeg: expected sides of at most ", JPEG_MAX_DIMENSION, ", found ", image.width, "x", image.height,
          "; make the image smaller");
  JpegWriter writer;
  if (!write_jpeg(writer, image.pixels.data(), static_cast<unsigned>(image.width), static_cast<unsigned>(image.height),
                  quality)) {
    fail("encode_jpeg: expected libjpeg to accept ", image.width, "x", image.height, " pixels, found: ", writer.message,
         "; make the image smaller");
  }
  return std::string(reinterpret_cast<const char*>(writer.bytes), writer.size);
}

}  // namespace minimind
