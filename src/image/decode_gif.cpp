#include <algorithm>
#include <array>
#include <vector>

#include "image/decode_formats.h"
#include "minimind/base/error.h"

namespace minimind::detail {
namespace {

/// Reads the bytes of a GIF from front to back. Throws Error at the end of the file.
class GifBytes {
 public:
  explicit GifBytes(const DecodeRequest& request) : request_(request) {}

  uint8_t next() { return static_cast<uint8_t>(take(1)[0]); }
  int64_t next_16() {
    const int64_t low = next();
    return low | int64_t{next()} << 8;
  }
  std::string_view take(size_t count) {
    const std::string_view bytes = file_bytes(request_, "GIF", at_, count);
    at_ += count;
    return bytes;
  }
  std::string_view next_block() { return take(next()); }

 private:
  const DecodeRequest& request_;
  size_t at_ = 0;
};

Palette read_gif_palette(GifBytes& bytes, unsigned flags) {
  Palette palette{};
  const size_t count = size_t{2} << (flags & 7U);
  for (size_t i = 0; i < count; ++i) {
    std::ranges::copy(bytes.take(3), palette[i].begin());
  }
  complete_palette(palette, count);
  return palette;
}

/// Decodes the codes of a GIF (LZW, of variable width) to palette indices.
class GifLzw {
 public:
  GifLzw(const DecodeRequest& request, GifBytes& bytes, unsigned symbol_bits)
      : request_(request), bytes_(bytes), symbol_bits_(symbol_bits) {
    if (symbol_bits < 1 || symbol_bits > 11) {
      fail_image(request, "GIF", concat("a code width of ", symbol_bits, " bits"));
    }
    clear();
  }

  /// Writes `count` palette indices. Throws Error if the data end before.
  void read(uint8_t* out, size_t count) {
    size_t filled = 0;
    while (filled < count) {
      const unsigned code = next_code();
      if (code == clear_code()) {
        clear();
      } else if (code == clear_code() + 1) {
        fail_image(request_, "GIF", "fewer pixels than its size asks for");
      } else {
        filled += emit(code, out + filled, count - filled);
      }
    }
  }

 private:
  static constexpr unsigned kMaxCodes = 4096;
  static constexpr unsigned kNone = kMaxCodes;

  unsigned clear_code() const { return 1U << symbol_bits_; }

  void clear() {
    width_ = symbol_bits_ + 1;
    next_free_ = clear_code() + 2;
    previous_ = kNone;
  }

  unsigned next_code() {
    while (bit_count_ < width_) {
      while (block_.empty()) {
        block_ = bytes_.next_block();
      }
      bits_ |= static_cast<uint32_t>(static_cast<uint8_t>(block_[0])) << bit_count_;
      block_.remove_prefix(1);
      bit_count_ += 8;
    }
    const unsigned code = bits_ & ((1U << width_) - 1);
    bits_ >>= width_;
    bit_count_ -= width_;
    return code;
  }

  /// Writes the first `room` indices of the code's string and returns how many it wrote.
  size_t emit(unsigned code, uint8_t* out, size_t room) {
    if (code > next_free_ || (code == next_free_ && previous_ == kNone) ||
        (previous_ == kNone && code > clear_code())) {
      fail_image(request_, "GIF", "damaged data (a code that was never defined)");
    }
    // The code that is defined next stands for the previous string and that string's first symbol.
    const bool pending = code == next_free_;
    unsigned walk = pending ? previous_ : code;
    size_t length = 0;
    if (pending) {
      stack_[length++] = first_;
    }
    while (walk >= clear_code()) {
      stack_[length++] = suffix_[walk];
      walk = prefix_[walk];
    }
    stack_[length++] = static_cast<uint8_t>(walk);
    const auto first = static_cast<uint8_t>(walk);
    if (previous_ != kNone && next_free_ < kMaxCodes) {
      prefix_[next_free_] = static_cast<uint16_t>(previous_);
      suffix_[next_free_] = first;
      ++next_free_;
      if (next_free_ == 1U << width_ && width_ < 12) {
        ++width_;
      }
    }
    previous_ = code;
    first_ = first;
    const size_t written = length < room ? length : room;
    for (size_t i = 0; i < written; ++i) {
      out[i] = stack_[length - 1 - i];
    }
    return written;
  }

  const DecodeRequest& request_;
  GifBytes& bytes_;
  unsigned symbol_bits_;
  unsigned width_ = 0;
  unsigned next_free_ = 0;
  unsigned previous_ = kNone;
  uint8_t first_ = 0;
  uint32_t bits_ = 0;
  unsigned bit_count_ = 0;
  std::string_view block_;
  std::array<uint16_t, kMaxCodes> prefix_{};
  std::array<uint8_t, kMaxCodes> suffix_{};
  std::array<uint8_t, kMaxCodes + 1> stack_{};
};

/// Reads up to the first image. Returns the transparent index of its control block, or -1.
int skip_to_gif_frame(const DecodeRequest& request, GifBytes& bytes) {
  int transparent = -1;
  while (true) {
    const uint8_t kind = bytes.next();
    if (kind == ',') {
      return transparent;
    }
    if (kind == ';') {
      fail_image(request, "GIF", "one without an image");
    }
    if (kind != '!') {
      continue;  // Pillow passes over stray bytes between blocks.
    }
    const uint8_t label = bytes.next();
    std::string_view block = bytes.next_block();
    if (label == 249 && block.size() >= 4 && (static_cast<uint8_t>(block[0]) & 1U) != 0) {
      transparent = static_cast<uint8_t>(block[3]);
    }
    while (!block.empty()) {
      block = bytes.next_block();
    }
  }
}

/// The image's rows in the order of the file.
std::vector<int64_t> gif_row_order(int64_t height, bool is_interlaced) {
  using Pass = std::array<int64_t, 2>;  // first row, step
  const std::vector<Pass> passes =
      is_interlaced ? std::vector<Pass>{{0, 8}, {4, 8}, {2, 4}, {1, 2}} : std::vector<Pass>{{0, 1}};
  std::vector<int64_t> rows;
  rows.reserve(static_cast<size_t>(height));
  for (const auto& [first, step] : passes) {
    for (int64_t y = first; y < height; y += step) {
      rows.push_back(y);
    }
  }
  return rows;
}

void fill_gif(Image& image, const std::array<uint8_t, 3>& color) {
  for (size_t i = 0; i < image.pixels.size(); ++i) {
    image.pixels[i] = color[i % 3];
  }
}

}  // namespace

// stb_image leaves transparent pixels unwritten, where Pillow's RGB shows their palette colour. Its GIF reader has
// known memory errors in the distribution's version.
Image decode_gif(const DecodeRequest& request) {
  GifBytes bytes(request);
  bytes.take(6);
  int64_t width = bytes.next_16();
  int64_t height = bytes.next_16();
  const unsigned screen_flags = bytes.next();
  bytes.take(2);
  Palette palette = (screen_flags & 128U) != 0 ? read_gif_palette(bytes, screen_flags) : grey_palette();
  const int transparent = skip_to_gif_frame(request, bytes);
  const int64_t frame_x = bytes.next_16();
  const int64_t frame_y = bytes.next_16();
  const int64_t frame_width = bytes.next_16();
  const int64_t frame_height = bytes.next_16();
  const unsigned frame_flags = bytes.next();
  if ((frame_flags & 128U) != 0) {
    palette = read_gif_palette(bytes, frame_flags);
  }
  if (frame_width == 0 || frame_height == 0) {
    fail_image(request, "GIF", "an empty frame");
  }
  width = std::max(width, frame_x + frame_width);
  height = std::max(height, frame_y + frame_height);
  Image image = new_image(request, "GIF", {width, height, frame_width * frame_height});
  fill_gif(image, palette[static_cast<size_t>(std::max(transparent, 0))]);
  GifLzw codes(request, bytes, bytes.next());
  std::vector<uint8_t> indices(static_cast<size_t>(frame_width * frame_height));
  codes.read(indices.data(), indices.size());
  const uint8_t* index = indices.data();
  for (const int64_t y : gif_row_order(frame_height, (frame_flags & 64U) != 0)) {
    uint8_t* out = image.pixels.data() + ((frame_y + y) * width + frame_x) * 3;
    for (int64_t x = 0; x < frame_width; ++x, out += 3) {
      std::ranges::copy(palette[*index++], out);
    }
  }
  return image;
}

}  // namespace minimind::detail
