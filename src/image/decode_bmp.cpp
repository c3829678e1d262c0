#include <algorithm>
#include <array>
#include <cstdlib>
#include <vector>

#include "base/bytes.h"
#include "image/decode_formats.h"
#include "minimind/base/error.h"

namespace minimind::detail {
namespace {

constexpr size_t kFileHeader = 14;
enum BmpCompression : uint32_t { kBmpRaw = 0, kBmpRle8 = 1, kBmpRle4 = 2, kBmpBitfields = 3 };

struct BmpHeader {
  size_t size = 0;
  int64_t width = 0;
  int64_t height = 0;
  bool top_down = false;
  unsigned bits = 0;
  uint32_t compression = kBmpRaw;
  uint32_t colors = 0;
  std::array<uint32_t, 3> masks = {};  ///< red, green, blue
  size_t palette_at = 0;
  size_t pixels_at = 0;
};

template <class Integer>
Integer bmp_number(const DecodeRequest& request, size_t offset) {
  return read_little_endian<Integer>(file_bytes(request, "BMP", offset, sizeof(Integer)));
}

void read_bmp_info(const DecodeRequest& request, BmpHeader& header) {
  if (header.size == 12) {
    header.width = bmp_number<uint16_t>(request, 18);
    header.height = bmp_number<uint16_t>(request, 20);
    header.bits = bmp_number<uint16_t>(request, 24);
    return;
  }
  header.width = bmp_number<int32_t>(request, 18);
  header.height = bmp_number<int32_t>(request, 22);
  header.top_down = header.height < 0;
  header.height = std::abs(header.height);
  header.bits = bmp_number<uint16_t>(request, 28);
  header.compression = bmp_number<uint32_t>(request, 30);
  header.colors = bmp_number<uint32_t>(request, 46);
}

void check_bmp_kind(const DecodeRequest& request, const BmpHeader& header) {
  constexpr std::array<unsigned, 6> kBits = {1, 4, 8, 16, 24, 32};
  const bool known_bits = std::find(kBits.begin(), kBits.end(), header.bits) != kBits.end();
  const bool fits = header.compression == kBmpRaw || (header.compression == kBmpRle8 && header.bits == 8) ||
                    (header.compression == kBmpRle4 && header.bits == 4) ||
                    (header.compression == kBmpBitfields && header.bits >= 16);
  if (!known_bits || !fits) {
    fail_image(request, "BMP", concat("compression ", header.compression, " with ", header.bits, " bits a pixel"));
  }
}

BmpHeader read_bmp_header(const DecodeRequest& request) {
  constexpr std::array<size_t, 7> kSizes = {12, 40, 52, 56, 64, 108, 124};
  BmpHeader header;
  header.size = bmp_number<uint32_t>(request, kFileHeader);
  if (std::find(kSizes.begin(), kSizes.end(), header.size) == kSizes.end()) {
    fail_image(request, "BMP", concat("a header of ", header.size, " bytes"));
  }
  file_bytes(request, "BMP", kFileHeader, header.size);
  read_bmp_info(request, header);
  check_bmp_kind(request, header);
  if (header.colors == 0) {
    header.colors = header.bits <= 8 ? 1U << header.bits : 0;
  }
  if (header.bits <= 8 && header.colors > 65536) {
    fail_image(request, "BMP", concat("a palette of ", header.colors, " colours"));
  }
  // The masks stand at the same place: behind a header of 40 bytes, inside a longer header.
  size_t behind = kFileHeader + header.size;
  if (header.compression == kBmpBitfields) {
    for (size_t i = 0; i < 3; ++i) {
      header.masks[i] = bmp_number<uint32_t>(request, kFileHeader + 40 + 4 * i);
    }
    behind += header.size == 40 ? 12 : 0;
  }
  header.palette_at = behind;
  header.pixels_at = bmp_number<uint32_t>(request, 10);
  const size_t palette_bytes = header.bits <= 8 ? header.colors * (header.size == 12 ? 3 : 4) : 0;
  // Some writers forget to count the palette.
  if (header.pixels_at == kFileHeader + header.size) {
    header.pixels_at += palette_bytes;
  } else if (header.pixels_at == 0) {
    header.pixels_at = behind + palette_bytes;
  }
  return header;
}

Palette read_bmp_palette(const DecodeRequest& request, const BmpHeader& header) {
  Palette palette{};
  const size_t step = header.size == 12 ? 3 : 4;
  const size_t count = std::min<size_t>(header.colors, palette.size());
  for (size_t i = 0; i < count; ++i) {
    const std::string_view entry = file_bytes(request, "BMP", header.palette_at + i * step, 3);  // blue, green, red
    std::reverse_copy(entry.begin(), entry.end(), palette[i].begin());
  }
  complete_palette(palette, count);
  return palette;
}

/// One channel of a 16-bit or 32-bit pixel: value * 255 / largest, rounded down, as Pillow widens 5 and 6 bits.
struct BmpChannel {
  unsigned shift = 0;
  uint32_t largest = 255;

  uint8_t of(uint32_t pixel) const { return static_cast<uint8_t>((pixel >> shift & largest) * 255 / largest); }
};

std::array<BmpChannel, 3> bmp_channels(const DecodeRequest& request, const BmpHeader& header) {
  using Masks = std::array<uint32_t, 3>;
  constexpr Masks k555 = {0x7C00, 0x3E0, 0x1F};
  constexpr Masks k565 = {0xF800, 0x7E0, 0x1F};
  constexpr std::array<Masks, 4> k888 = {
      {{0xFF0000, 0xFF00, 0xFF}, {0xFF000000, 0xFF0000, 0xFF00}, {0xFF000000, 0xFF00, 0xFF}, {0xFF, 0xFF00, 0xFF0000}}};
  Masks masks = header.masks;
  if (header.compression == kBmpRaw || (header.bits == 32 && masks == Masks{0, 0, 0})) {
    masks = header.bits == 16 ? k555 : k888[0];
  }
  const bool known = header.bits == 16   ? masks == k555 || masks == k565
                     : header.bits == 24 ? masks == k888[0]
                                         : std::find(k888.begin(), k888.end(), masks) != k888.end();
  if (!known) {
    fail_image(request, "BMP", "an unusual layout of colour bits");
  }
  std::array<BmpChannel, 3> channels;
  for (size_t c = 0; c < 3; ++c) {
    while ((masks[c] >> channels[c].shift & 1U) == 0) {
      ++channels[c].shift;
    }
    channels[c].largest = masks[c] >> channels[c].shift;
  }
  return channels;
}

/// Decodes the palette indices of a run-length coded image, rows in the order of the file.
class BmpRuns {
 public:
  BmpRuns(const DecodeRequest& request, const BmpHeader& header)
      : request_(request),
        width_(static_cast<size_t>(header.width)),
        nibbles_(header.compression == kBmpRle4),
        at_(header.pixels_at),
        indices_(width_ * static_cast<size_t>(header.height)) {}

  std::vector<uint8_t> read() {
    while (filled_ < indices_.size()) {
      const uint8_t count = next();
      const uint8_t value = next();
      if (count > 0) {
        run(count, value);
      } else if (value == 0) {
        filled_ = (filled_ + width_ - 1) / width_ * width_;
        column_ = 0;
      } else if (value == 1) {
        fail_image(request_, "BMP", "fewer pixels than its size asks for");
      } else if (value == 2) {
        const size_t right = next();
        filled_ = std::min(indices_.size(), filled_ + right + next() * width_);
        column_ = filled_ % width_;
      } else {
        literal(value);
      }
    }
    return std::move(indices_);
  }

 private:
  uint8_t next() { return static_cast<uint8_t>(file_bytes(request_, "BMP", at_++, 1)[0]); }
  void put(uint8_t value) {
    if (filled_ < indices_.size()) {
      indices_[filled_++] = value;
    }
  }
  void run(size_t count, uint8_t value) {
    // A run that is longer than its row stops at the row's end.
    const size_t room = column_ < width_ ? width_ - column_ : 0;
    count = std::min(count, room);
    for (size_t i = 0; i < count; ++i) {
      put(!nibbles_ ? value : i % 2 == 0 ? value >> 4 : value & 15);
    }
    column_ += count;
  }
  void literal(size_t count) {
    const size_t taken = std::min(count, indices_.size() - filled_);
    for (size_t i = 0; i < taken; i += nibbles_ ? 2 : 1) {
      const uint8_t value = next();
      put(nibbles_ ? value >> 4 : value);
      if (nibbles_ && i + 1 < taken) {
        put(value & 15);
      }
    }
    column_ += count;
    at_ += at_ % 2;  // literals end at an even place of the file
  }

  const DecodeRequest& request_;
  size_t width_;
  bool nibbles_;
  size_t at_;
  std::vector<uint8_t> indices_;
  size_t filled_ = 0;
  size_t column_ = 0;
};

/// The palette indices of one row that is not run-length coded.
void unpack_bmp_row(std::string_view row, unsigned bits, std::vector<uint8_t>& indices) {
  const size_t per_byte = 8 / bits;
  const unsigned mask = (1U << bits) - 1;
  for (size_t x = 0; x < indices.size(); ++x) {
    const unsigned byte = static_cast<uint8_t>(row[x / per_byte]);
    indices[x] = static_cast<uint8_t>(byte >> (8 - bits * (x % per_byte + 1)) & mask);
  }
}

/// Offset in bytes of the pixels of file row `y`.
size_t bmp_row_at(const BmpHeader& header, int64_t y) {
  const size_t stride = (static_cast<size_t>(header.width) * header.bits + 31) / 32 * 4;
  return header.pixels_at + static_cast<size_t>(y) * stride;
}

/// Where the pixels of file row `y` go.
uint8_t* bmp_target(const BmpHeader& header, int64_t y, Image& image) {
  return image.pixels.data() + (header.top_down ? y : header.height - 1 - y) * header.width * 3;
}

void read_bmp_palette_pixels(const DecodeRequest& request, const BmpHeader& header, Image& image) {
  const Palette palette = read_bmp_palette(request, header);
  const auto width = static_cast<size_t>(header.width);
  const bool has_runs = header.compression != kBmpRaw;
  std::vector<uint8_t> indices = has_runs ? BmpRuns(request, header).read() : std::vector<uint8_t>(width);
  for (int64_t y = 0; y < header.height; ++y) {
    if (!has_runs) {
      unpack_bmp_row(file_bytes(request, "BMP", bmp_row_at(header, y), (width * header.bits + 7) / 8), header.bits,
                     indices);
    }
    const uint8_t* index = indices.data() + (has_runs ? static_cast<size_t>(y) * width : 0);
    uint8_t* out = bmp_target(header, y, image);
    for (size_t x = 0; x < width; ++x, out += 3) {
      std::ranges::copy(palette[index[x]], out);
    }
  }
}

void read_bmp_color_pixels(const DecodeRequest& request, const BmpHeader& header, Image& image) {
  const std::array<BmpChannel, 3> channels = bmp_channels(request, header);
  const auto width = static_cast<size_t>(header.width);
  const size_t step = header.bits / 8;
  for (int64_t y = 0; y < header.height; ++y) {
    uint8_t* out = bmp_target(header, y, image);
    const std::string_view row = file_bytes(request, "BMP", bmp_row_at(header, y), width * step);
    for (size_t x = 0; x < width; ++x) {
      uint32_t pixel = 0;
      for (size_t i = 0; i < step; ++i) {
        pixel |= static_cast<uint32_t>(static_cast<uint8_t>(row[x * step + i])) << (8 * i);
      }
      for (const BmpChannel& channel : channels) {
        *out++ = channel.of(pixel);
      }
    }
  }
}

}  // namespace

// stb_image decodes no run-length coding, and it widens 5 and 6 bits to other values than Pillow.
Image decode_bmp(const DecodeRequest& request) {
  const BmpHeader header = read_bmp_header(request);
  Image image = new_image(request, "BMP", {header.width, header.height});
  if (header.bits <= 8) {
    read_bmp_palette_pixels(request, header, image);
  } else {
    read_bmp_color_pixels(request, header, image);
  }
  return image;
}

}  // namespace minimind::detail
