#include "image/exif.h"

#include <cstddef>
#include <cstdint>

#include "minimind/base/error.h"

namespace minimind {

namespace {

constexpr std::string_view kExif("Exif\0\0", 6);

/// A number of `width` bytes; 0 behind the end.
uint32_t number(std::string_view bytes, size_t at, size_t width, bool is_little) {
  uint32_t value = 0;
  for (size_t i = 0; i < width && at + width <= bytes.size(); ++i) {
    const size_t place = is_little ? at + width - 1 - i : at + i;
    value = (value << 8U) | static_cast<uint8_t>(bytes[place]);
  }
  return value;
}

/// The orientation in a block of TIFF tags; 0 if it has none.
uint32_t orientation_of_tags(std::string_view tags) {
  constexpr uint32_t kOrientation = 0x0112, kShort = 3;
  constexpr size_t kTagSize = 12;
  const bool is_little = tags.starts_with("II");
  const size_t first = number(tags, 4, 4, is_little);
  const size_t count = number(tags, first, 2, is_little);
  for (size_t i = 0; i < count && first + 2 + (i + 1) * kTagSize <= tags.size(); ++i) {
    const size_t at = first + 2 + i * kTagSize;
    if (number(tags, at, 2, is_little) == kOrientation && number(tags, at + 2, 2, is_little) == kShort) {
      return number(tags, at + 8, 2, is_little);
    }
  }
  return 0;
}

std::string_view tags_of_jpeg(std::string_view bytes) {
  constexpr uint32_t kApp1 = 0xE1, kStartOfScan = 0xDA;
  for (size_t at = 2; at + 4 <= bytes.size() && bytes[at] == '\xFF';) {
    const uint32_t marker = number(bytes, at + 1, 1, false), size = number(bytes, at + 2, 2, false);
    if (marker == kStartOfScan || size < 2 || at + 2 + size > bytes.size()) {
      break;
    }
    const std::string_view segment = bytes.substr(at + 4, size - 2);
    if (marker == kApp1 && segment.starts_with(kExif)) {
      return segment.substr(kExif.size());
    }
    at += 2 + size;
  }
  return {};
}

/// The body of a chunk of PNG (number, name, body, checksum) or WebP (name, number, body, padding to even).
std::string_view chunk_of(std::string_view bytes, size_t at, std::string_view wanted, bool is_png) {
  while (at + 8 <= bytes.size()) {
    const size_t size = number(bytes, at + (is_png ? 0 : 4), 4, !is_png);
    if (size > bytes.size() - at - 8) {
      break;
    }
    if (bytes.substr(at + (is_png ? 4 : 0), 4) == wanted) {
      return bytes.substr(at + 8, size);
    }
    at += 8 + size + (is_png ? 4 : size % 2);
  }
  return {};
}

}  // namespace

std::string turned_by_exif(std::string_view bytes) {
  constexpr uint32_t kUpright = 1, kLast = 8;
  std::string_view tags;
  if (bytes.starts_with("\xFF\xD8")) {
    tags = tags_of_jpeg(bytes);
  } else if (bytes.starts_with("\x89PNG")) {
    tags = chunk_of(bytes, 8, "eXIf", true);
  } else if (bytes.starts_with("RIFF")) {
    tags = chunk_of(bytes, 12, "EXIF", false);
    tags.remove_prefix(tags.starts_with(kExif) ? kExif.size() : 0);
  }
  const uint32_t orientation = orientation_of_tags(tags);
  if (orientation <= kUpright || orientation > kLast) {
    return "";
  }
  return concat("the photo's EXIF orientation is ", orientation,
                ", so viewers turn or mirror it; it is read as stored, as in training; to turn its pixels: mogrify "
                "-auto-orient FILE");
}

}  // namespace minimind
