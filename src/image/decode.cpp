#include "minimind/image/decode.h"

#include <algorithm>
#include <cstdio>
#include <optional>

#include "base/file_format.h"
#include "base/text.h"
#include "image/decode_formats.h"
#include "image/exif.h"
#include "minimind/base/error.h"
#include "minimind/base/file.h"
#include "minimind/base/log.h"

namespace minimind {
namespace {

constexpr std::array<std::string_view, 10> kImageEndings = {".jpg", ".jpeg", ".jpe", ".jfif", ".jif",
                                                            ".png", ".bmp",  ".dib", ".gif",  ".webp"};
constexpr std::string_view kJpegStart("\xFF\xD8\xFF", 3);
constexpr std::string_view kPngStart("\x89PNG\r\n\x1A\n", 8);

/// The first bytes, as text if they are printable, else in hexadecimal.
std::string first_bytes(std::string_view bytes) {
  if (bytes.empty()) {
    return "an empty file";
  }
  const std::string_view head = bytes.substr(0, 12);
  if (std::ranges::all_of(head, [](char c) { return c >= 0x20 && c < 0x7F; })) {
    return concat("a file that begins with '", head, "'");
  }
  std::string hex;
  for (const char c : head) {
    char text[4];
    std::snprintf(text, sizeof text, " %02x", static_cast<unsigned char>(c));
    hex += text;
  }
  return "a file that begins with the bytes" + hex;
}

}  // namespace

namespace detail {

void fail_image(const DecodeRequest& request, const char* format, const std::string& what) {
  fail(request.name, ": expected a whole ", format, " image, found ", what, "; fetch the file again or remove it");
}

void fail_stopped(const DecodeRequest& request) {
  fail(request.name, ": its reading was stopped; the image is no longer wanted, or takes too much work");
}

std::string_view file_bytes(const DecodeRequest& request, const char* format, size_t offset, size_t count) {
  if (offset > request.bytes.size() || count > request.bytes.size() - offset) {
    fail_image(request, format, kCutShort);
  }
  return request.bytes.substr(offset, count);
}

void check_pixels(const DecodeRequest& request, const char* format, int64_t width, int64_t height) {
  if (width <= 0 || height <= 0) {
    fail_image(request, format, concat("one of ", width, "x", height, " pixels"));
  }
  const DecodeLimits& limits = request.limits;
  if (width > limits.max_side || height > limits.max_side || width > limits.max_pixels / height) {
    fail(request.name, ": expected an image of at most ", limits.max_pixels, " pixels and ", limits.max_side,
         " a side, found a ", format, " of ", width, "x", height, "; make it smaller");
  }
}

void check_size(const DecodeRequest& request, const char* format, const ImageSize& size) {
  check_pixels(request, format, size.width, size.height);
  const DecodeLimits& limits = request.limits;
  const int64_t bytes = 3 * size.pixels() + size.working_bytes;
  if (bytes > limits.max_bytes) {
    throw ImageTakesTooMuch(
        concat(request.name, ": expected an image that takes at most ", limits.max_bytes >> 20, " MB to read, found a ",
               format, " of ", size.width, "x", size.height, " that takes ", bytes >> 20, " MB; make it smaller"),
        bytes);
  }
  if (limits.go_on && !limits.go_on(size.pixels())) {
    fail_stopped(request);
  }
}

Image new_image(const DecodeRequest& request, const char* format, const ImageSize& size) {
  check_size(request, format, size);
  return {size.width, size.height, std::vector<uint8_t>(static_cast<size_t>(size.pixels() * 3))};
}

Palette grey_palette() {
  Palette palette;
  for (size_t i = 0; i < palette.size(); ++i) {
    palette[i].fill(static_cast<uint8_t>(i));
  }
  return palette;
}

void complete_palette(Palette& palette, size_t count) {
  const Palette greys = grey_palette();
  const auto rest = static_cast<std::ptrdiff_t>(count);
  const bool is_grey = std::equal(palette.begin(), palette.begin() + rest, greys.begin());
  for (size_t i = count; i < palette.size(); ++i) {
    palette[i] = is_grey ? greys[i] : std::array<uint8_t, 3>{};
  }
}

}  // namespace detail

Image decode_image(std::string_view bytes, const std::string& name, const DecodeLimits& limits) {
  const detail::DecodeRequest request{bytes, name, limits};
  if (bytes.starts_with(kJpegStart)) {
    return detail::decode_jpeg(request);
  }
  if (bytes.starts_with(kPngStart)) {
    return detail::decode_png(request);
  }
  if (bytes.starts_with("GIF87a") || bytes.starts_with("GIF89a")) {
    return detail::decode_gif(request);
  }
  if (bytes.starts_with("RIFF") && bytes.size() >= 12 && bytes.substr(8, 4) == "WEBP") {
    return detail::decode_webp(request);
  }
  if (bytes.starts_with("BM")) {
    return detail::decode_bmp(request);
  }
  const std::optional<FileFormat> format = recognise_format(bytes.substr(0, 512));
  fail(name, ": expected a JPEG, PNG, BMP, GIF or WebP image, found ", format ? format->name : first_bytes(bytes), "; ",
       format ? format->cure : "convert the file or fetch it again");
}

Image load_image(const std::filesystem::path& path, const DecodeLimits& limits) {
  const std::string bytes = read_file(path);
  Image image = decode_image(bytes, path.string(), limits);
  if (const std::string turned = turned_by_exif(bytes); !turned.empty()) {
    log_info(concat("note: ", path.string(), ": ", turned));
  }
  return image;
}

bool has_image_name(const std::filesystem::path& path) {
  const std::string ending = lower_case(path.extension().string());
  return std::ranges::count(kImageEndings, ending) > 0;
}

}  // namespace minimind
