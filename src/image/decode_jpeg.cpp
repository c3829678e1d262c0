// jpeglib.h wants size_t and FILE from its includer.
// clang-format off
#include <csetjmp>
#include <cstddef>
#include <cstdio>
#include <jpeglib.h>
#include <jerror.h>
// clang-format on

#include <functional>
#include <new>
#include <utility>

#include "image/decode_formats.h"
#include "minimind/image/decode.h"

namespace minimind::detail {
namespace {

/// Limits against hostile progressive files that repeat scans over a huge image. Real files have about ten scans; the
/// largest allowed image may have a dozen.
constexpr int kMaxScans = 500;
constexpr int64_t kMaxScannedPixels = int64_t{2} << 30;

/// State of one decompression. libjpeg reports errors by a call that must not return. So each step below is a function
/// with its own setjmp, and no object in it has a destructor.
struct JpegReader {
  jpeg_decompress_struct info{};
  jpeg_error_mgr errors{};
  jpeg_source_mgr source{};
  jpeg_progress_mgr progress{};
  std::jmp_buf jump{};
  char message[JMSG_LENGTH_MAX + 1] = {};
  bool created = false;
  const std::function<bool(int64_t)>* go_on = nullptr;
  int scans_reported = 1;  ///< to `go_on`; new_image() reports the first scan
  bool stopped = false;

  ~JpegReader() {
    if (created) {
      jpeg_destroy_decompress(&info);
    }
  }
};

JpegReader& reader_of(j_common_ptr info) {
  return *static_cast<JpegReader*>(info->client_data);
}

[[noreturn]] void stop_reading(j_common_ptr info, const char* why) {
  JpegReader& reader = reader_of(info);
  std::snprintf(reader.message, sizeof reader.message, "%s", why);
  std::longjmp(reader.jump, 1);
}

void on_jpeg_error(j_common_ptr info) {
  JpegReader& reader = reader_of(info);
  info->err->format_message(info, reader.message);
  std::longjmp(reader.jump, 1);
}

void on_jpeg_message(j_common_ptr) {}
void on_jpeg_source(j_decompress_ptr) {}

// Pillow too refuses a file that ends before the end-of-image marker.
boolean on_jpeg_end_of_data(j_decompress_ptr info) {
  stop_reading(reinterpret_cast<j_common_ptr>(info), kCutShort);
}

void on_jpeg_skip(j_decompress_ptr info, long count) {
  if (count <= 0) {
    return;
  }
  if (static_cast<size_t>(count) > info->src->bytes_in_buffer) {
    stop_reading(reinterpret_cast<j_common_ptr>(info), kCutShort);
  }
  info->src->next_input_byte += count;
  info->src->bytes_in_buffer -= static_cast<size_t>(count);
}

void on_jpeg_progress(j_common_ptr common) {
  const auto* info = reinterpret_cast<j_decompress_ptr>(common);
  const int64_t scans = info->input_scan_number;
  const int64_t pixels = static_cast<int64_t>(info->image_width) * info->image_height;
  if (scans > kMaxScans || scans * pixels > kMaxScannedPixels) {
    stop_reading(common, "one with too many scans");
  }
  JpegReader& reader = reader_of(common);
  const int64_t further = scans - std::exchange(reader.scans_reported, info->input_scan_number);
  if (*reader.go_on && !(*reader.go_on)(further * pixels)) {
    reader.stopped = true;
    std::longjmp(reader.jump, 1);
  }
}

bool read_jpeg_header(JpegReader& reader, const uint8_t* data, size_t size) {
  reader.info.err = jpeg_std_error(&reader.errors);
  reader.errors.error_exit = on_jpeg_error;
  reader.errors.output_message = on_jpeg_message;
  reader.info.client_data = &reader;
  if (setjmp(reader.jump) != 0) {
    return false;
  }
  jpeg_create_decompress(&reader.info);
  reader.created = true;
  reader.source.next_input_byte = data;
  reader.source.bytes_in_buffer = size;
  reader.source.init_source = on_jpeg_source;
  reader.source.fill_input_buffer = on_jpeg_end_of_data;
  reader.source.skip_input_data = on_jpeg_skip;
  reader.source.resync_to_restart = jpeg_resync_to_restart;
  reader.source.term_source = on_jpeg_source;
  reader.info.src = &reader.source;
  reader.progress.progress_monitor = on_jpeg_progress;
  reader.info.progress = &reader.progress;
  jpeg_read_header(&reader.info, TRUE);
  return true;
}

/// a * b / 255, rounded, in Pillow's integer form.
uint8_t muldiv255(unsigned a, unsigned b) {
  const unsigned t = a * b + 128;
  return static_cast<uint8_t>((t + (t >> 8)) >> 8);
}

/// Converts inverted CMYK samples, as Adobe writes them, to RGB (SPEC.md section 2).
void cmyk_row_to_rgb(const uint8_t* in, size_t width, uint8_t* out) {
  for (size_t x = 0; x < width; ++x, in += 4, out += 3) {
    const unsigned light = in[3];
    for (int c = 0; c < 3; ++c) {
      out[c] = static_cast<uint8_t>(light - muldiv255(255U - in[c], light));
    }
  }
}

bool read_jpeg_pixels(JpegReader& reader, uint8_t* out) {
  if (setjmp(reader.jump) != 0) {
    return false;
  }
  jpeg_decompress_struct& info = reader.info;
  const bool is_cmyk = info.num_components == 4;
  info.out_color_space = is_cmyk ? JCS_CMYK : JCS_RGB;
  jpeg_start_decompress(&info);
  const size_t width = info.output_width;
  JSAMPARRAY row = nullptr;
  if (is_cmyk) {
    row = info.mem->alloc_sarray(reinterpret_cast<j_common_ptr>(&info), JPOOL_IMAGE, info.output_width * 4, 1);
  }
  while (info.output_scanline < info.output_height) {
    uint8_t* target = out + static_cast<size_t>(info.output_scanline) * width * 3;
    if (is_cmyk) {
      jpeg_read_scanlines(&info, row, 1);
      cmyk_row_to_rgb(row[0], width, target);
    } else {
      jpeg_read_scanlines(&info, &target, 1);
    }
  }
  jpeg_finish_decompress(&info);
  return true;
}

/// The coefficients that libjpeg keeps of an image with several scans; otherwise it keeps a few rows.
int64_t jpeg_working_bytes(jpeg_decompress_struct& info) {
  int64_t blocks = 0;
  for (int i = 0; jpeg_has_multiple_scans(&info) && i < info.num_components; ++i) {
    blocks += int64_t{info.comp_info[i].width_in_blocks} * info.comp_info[i].height_in_blocks;
  }
  return blocks * DCTSIZE2 * static_cast<int64_t>(sizeof(JCOEF));
}

[[noreturn]] void fail_jpeg(const DecodeRequest& request, const JpegReader& reader) {
  if (reader.stopped) {
    fail_stopped(request);
  }
  if (reader.errors.msg_code == JERR_OUT_OF_MEMORY) {
    throw std::bad_alloc();
  }
  fail_image(request, "JPEG", reader.message);
}

}  // namespace

// To libjpeg damaged entropy-coded data inside a whole file is only a warning. The result is an image with a damaged
// part, as in Pillow.
Image decode_jpeg(const DecodeRequest& request) {
  JpegReader reader;
  reader.go_on = &request.limits.go_on;
  if (!read_jpeg_header(reader, request.data(), request.bytes.size())) {
    fail_jpeg(request, reader);
  }
  const int components = reader.info.num_components;
  if (components != 1 && components != 3 && components != 4) {
    fail_image(request, "JPEG", std::to_string(components) + " components");
  }
  Image image =
      new_image(request, "JPEG", {reader.info.image_width, reader.info.image_height, jpeg_working_bytes(reader.info)});
  if (!read_jpeg_pixels(reader, image.pixels.data())) {
    fail_jpeg(request, reader);
  }
  return image;
}

}  // namespace minimind::detail
