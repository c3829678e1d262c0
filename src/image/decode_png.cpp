#include <zlib.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

#include "image/decode_formats.h"
#include "minimind/base/error.h"
#include "minimind/image/decode.h"

#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#define STBI_ONLY_PNG
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_NO_HDR
#define STBI_MAX_DIMENSIONS 65535
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-but-set-variable"
#pragma GCC diagnostic ignored "-Wsign-compare"
#include <stb/stb_image.h>
#pragma GCC diagnostic pop

namespace minimind::detail {
namespace {

constexpr size_t kPngSignature = 8;
constexpr int64_t kMaxPngPixels =
    ((int64_t{1} << 31) - 1) / 6;      // for 16-bit samples stb_image counts 6 bytes in an int
constexpr size_t kChunkOverhead = 12;  // length, type and checksum

uint32_t png_checksum(std::string_view bytes) {
  return static_cast<uint32_t>(::crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

uint32_t big_endian_32(std::string_view bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) {
    value = value << 8 | static_cast<uint8_t>(bytes[at + i]);
  }
  return value;
}

struct PngSummary {
  uint32_t width = 0;
  uint32_t height = 0;
  int sample_bits = 0;
  int bits_per_pixel = 0;
  bool palette = false;
  bool interlaced = false;
  size_t palette_at = 0;  ///< offset of the PLTE chunk; 0: none
  size_t palette_size = 0;
  size_t data_size = 0;  ///< compressed bytes
  size_t end = 0;        ///< offset of the IEND chunk, or where it should stand
};

void read_png_header(const DecodeRequest& request, std::string_view body, PngSummary& summary) {
  if (body.size() != 13) {
    fail_image(request, "PNG", "a damaged header");
  }
  constexpr std::array<int, 7> kChannels = {1, 0, 3, 1, 2, 0, 4};
  const int depth = static_cast<uint8_t>(body[8]);
  const int color = static_cast<uint8_t>(body[9]);
  summary.width = big_endian_32(body, 0);
  summary.height = big_endian_32(body, 4);
  summary.palette = color == 3;
  summary.interlaced = body[12] != 0;
  summary.sample_bits = depth;
  summary.bits_per_pixel = color < 7 ? kChannels[static_cast<size_t>(color)] * depth : 0;
  if (summary.bits_per_pixel == 0 || depth > 16) {
    fail_image(request, "PNG", concat("colour type ", color, " with ", depth, " bits"));
  }
}

/// Whether the file ends where its IEND chunk should stand, or inside that chunk. Pillow accepts such a file if all
/// data are there.
bool lacks_only_its_end(std::string_view rest) {
  constexpr size_t kChunkHead = 8;
  return rest.size() < kChunkHead || (rest.size() < kChunkOverhead && rest.substr(4, 4) == "IEND");
}

/// Checks the chunks as Pillow does: a wrong checksum is an error, a missing IEND chunk behind whole data is not.
PngSummary check_png(const DecodeRequest& request) {
  const std::string_view bytes = request.bytes;
  PngSummary summary;
  size_t at = kPngSignature;
  while (true) {
    summary.end = at;
    if (summary.data_size > 0 && lacks_only_its_end(bytes.substr(at))) {
      return summary;
    }
    if (bytes.size() - at < kChunkOverhead || big_endian_32(bytes, at) > bytes.size() - at - kChunkOverhead) {
      fail_image(request, "PNG", kCutShort);
    }
    const size_t length = big_endian_32(bytes, at);
    const std::string_view type = bytes.substr(at + 4, 4);
    const bool critical = (static_cast<uint8_t>(type[0]) & 0x20U) == 0;
    if (critical && png_checksum(bytes.substr(at + 4, length + 4)) != big_endian_32(bytes, at + 8 + length)) {
      fail_image(request, "PNG", "a wrong checksum");
    }
    if ((at == kPngSignature) != (type == "IHDR")) {
      fail_image(request, "PNG", "chunks out of order");
    }
    if (type == "IHDR") {
      read_png_header(request, bytes.substr(at + 8, length), summary);
    } else if (type == "PLTE") {
      summary.palette_at = at;
      summary.palette_size = length;
    } else if (type == "IDAT") {
      summary.data_size += length;
    } else if (type == "IEND") {
      return summary;
    }
    at += length + kChunkOverhead;
  }
}

/// The file with a palette of 256 entries, the missing ones black as in Pillow: for an index outside the palette,
/// stb_image would read memory that was never written. stb_image checks no checksums.
std::string with_full_palette(std::string_view bytes, const PngSummary& summary) {
  std::string entries(bytes.substr(summary.palette_at + 8, summary.palette_size));
  entries.resize(768);
  std::string result(bytes.substr(0, summary.palette_at));
  result += std::string_view("\0\0\x03\0PLTE", 8);
  result += entries;
  result += bytes.substr(summary.palette_at + 8 + summary.palette_size);
  return result;
}

}  // namespace

/// What stb_image takes at once, less the image, which is made at the end: its copies of the compressed data and the
/// rows; the rows and their samples; the samples in the file's and in three channels, before it cuts 16 bits to 8.
int64_t png_working_bytes(const PngSummary& summary, size_t raw) {
  const int64_t pixels = int64_t{summary.width} * summary.height;
  const int64_t channels = summary.palette ? 5 : 4;  // a palette's indices, then its colours
  const int64_t sample_bytes = summary.sample_bits == 16 ? 2 : 1;
  const int64_t samples = std::min<int64_t>(channels, summary.bits_per_pixel / summary.sample_bits + 1) * pixels;
  const auto rows = static_cast<int64_t>(raw);
  const int64_t pass = summary.interlaced ? sample_bytes * samples / 2 : 0;  // the last pass has half the pixels
  const int64_t most = std::max({2 * static_cast<int64_t>(summary.data_size) + rows,
                                 rows + sample_bytes * samples + pass, sample_bytes * (samples + channels * pixels)});
  return std::max<int64_t>(most - 3 * pixels, 3 * pixels);
}

Image decode_png(const DecodeRequest& request) {
  const PngSummary summary = check_png(request);
  DecodeLimits limits = request.limits;
  limits.max_pixels = std::min(limits.max_pixels, kMaxPngPixels);
  const DecodeRequest limited{request.bytes, request.name, limits};
  check_pixels(limited, "PNG", summary.width, summary.height);
  // stb_image unpacks the whole stream before it checks the size. Refuse more compressed than unpacked bytes.
  const size_t raw = static_cast<size_t>(summary.height) *
                     (1 + (static_cast<size_t>(summary.width) * static_cast<size_t>(summary.bits_per_pixel) + 7) / 8);
  if (summary.data_size > 2 * raw + 65536 || request.bytes.size() > INT_MAX / 2) {
    fail_image(request, "PNG", "more data than its size asks for");
  }
  const ImageSize size{summary.width, summary.height, png_working_bytes(summary, raw)};
  check_size(limited, "PNG", size);
  std::string ended;
  std::string filled;
  std::string_view bytes = request.bytes;
  if (bytes.size() - summary.end < kChunkOverhead) {
    // stb_image wants an IEND chunk.
    ended = concat(bytes.substr(0, summary.end), std::string_view("\0\0\0\0IEND\xAE\x42\x60\x82", kChunkOverhead));
    bytes = ended;
  }
  if (summary.palette) {
    if (summary.palette_at == 0 || summary.palette_size % 3 != 0 || summary.palette_size > 768) {
      fail_image(request, "PNG", "a palette image without a proper palette");
    }
    filled = with_full_palette(bytes, summary);
    bytes = filled;
  }
  int width = 0;
  int height = 0;
  int channels = 0;
  uint8_t* decoded = stbi_load_from_memory(reinterpret_cast<const stbi_uc*>(bytes.data()),
                                           static_cast<int>(bytes.size()), &width, &height, &channels, 3);
  const std::unique_ptr<uint8_t, void (*)(void*)> owned(decoded, std::free);
  if (decoded == nullptr) {
    const std::string_view reason = stbi_failure_reason() == nullptr ? "unknown" : stbi_failure_reason();
    if (reason == "outofmem") {
      throw std::bad_alloc();
    }
    fail_image(request, "PNG", concat("damaged data (", reason, ")"));
  }
  if (width != size.width || height != size.height) {
    fail_image(request, "PNG", "a second header");
  }
  return {size.width, size.height, std::vector<uint8_t>(decoded, decoded + 3 * size.pixels())};
}

}  // namespace minimind::detail
