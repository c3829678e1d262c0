#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <webp/encode.h>
#include <zlib.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "image/sample_images.h"
#include "minimind/base/error.h"
#include "minimind/image/decode.h"

namespace minimind {
namespace {

constexpr uint32_t kWidth = 3000;
constexpr uint32_t kHeight = 2000;

void append_big_endian(uint32_t value, std::string& out) {
  for (const int shift : {24, 16, 8, 0}) {
    out += static_cast<char>(value >> shift & 0xFFU);
  }
}

void append_chunk(const std::string& type, const std::string& body, std::string& png) {
  append_big_endian(static_cast<uint32_t>(body.size()), png);
  const std::string covered = type + body;
  png += covered;
  append_big_endian(static_cast<uint32_t>(
                        ::crc32(0, reinterpret_cast<const Bytef*>(covered.data()), static_cast<uInt>(covered.size()))),
                    png);
}

/// The bytes of all rows of one pass, filter bytes included.
size_t rows_size(uint32_t width, uint32_t height, unsigned bits) {
  return width == 0 ? 0 : size_t{height} * (1 + (size_t{width} * bits + 7) / 8);
}

/// A black PNG of kWidth x kHeight pixels.
std::string black_png(unsigned color, unsigned depth, bool interlaced) {
  constexpr std::array<unsigned, 7> kChannels = {1, 0, 3, 1, 2, 0, 4};
  const unsigned bits = kChannels[color] * depth;
  size_t size = rows_size(kWidth, kHeight, bits);
  if (interlaced) {
    constexpr std::array<std::array<uint32_t, 4>, 7> kPasses = {
        {{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}}};
    size = 0;
    for (const auto& [x, y, step_x, step_y] : kPasses) {
      size += rows_size((kWidth - x + step_x - 1) / step_x, (kHeight - y + step_y - 1) / step_y, bits);
    }
  }
  const std::string rows(size, '\0');
  uLongf length = compressBound(static_cast<uLong>(size));
  std::string data(length, '\0');
  compress2(reinterpret_cast<Bytef*>(data.data()), &length, reinterpret_cast<const Bytef*>(rows.data()),
            static_cast<uLong>(size), 1);
  data.resize(length);
  std::string png("\x89PNG\r\n\x1A\n", 8);
  std::string head;
  append_big_endian(kWidth, head);
  append_big_endian(kHeight, head);
  for (const unsigned byte : {depth, color, 0U, 0U, interlaced ? 1U : 0U}) {
    head += static_cast<char>(byte);
  }
  append_chunk("IHDR", head, png);
  if (color == 3) {
    append_chunk("PLTE", std::string(6, '\1'), png);
  }
  append_chunk("IDAT", data, png);
  append_chunk("IEND", "", png);
  return png;
}

std::string black_webp(bool lossless) {
  const std::vector<uint8_t> pixels(size_t{kWidth} * kHeight * 4);
  uint8_t* out = nullptr;
  const int stride = static_cast<int>(kWidth) * 4;
  const size_t size = lossless ? WebPEncodeLosslessRGBA(pixels.data(), kWidth, kHeight, stride, &out)
                               : WebPEncodeRGBA(pixels.data(), kWidth, kHeight, stride, 50, &out);
  std::string file(reinterpret_cast<const char*>(out), size);
  WebPFree(out);
  return file;
}

int64_t stated_bytes(const std::string& file) {
  try {
    DecodeLimits limits;
    limits.max_bytes = 1;
    decode_image(file, "image", limits);
  } catch (const ImageTakesTooMuch& error) {
    return error.bytes();
  }
  return 0;
}

/// In a process of its own: 0 if decoding raises the peak of resident memory by `bytes` and a little more at most.
int decode_within(const std::string& file, int64_t bytes) {
  const auto peak = [] {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return int64_t{usage.ru_maxrss} << 10;
  };
  std::ofstream("/proc/self/clear_refs") << 5;  // forgets the parent's peak
  const int64_t before = peak();
  const Image image = decode_image(file, "image");
  return peak() - before <= bytes + (int64_t{3} << 20) && !image.pixels.empty() ? 0 : 1;
}

void expect_stated_memory(const std::string& file, const std::string& name) {
  const int64_t bytes = stated_bytes(file);
  ASSERT_GE(bytes, int64_t{3} * kWidth * kHeight) << name;
  const pid_t child = fork();
  if (child == 0) {
    _exit(decode_within(file, bytes));
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0) << name << " takes more than the stated " << bytes;
}

TEST(DecodeMemory, IsNotMoreThanWhatIsCheckedBefore) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "the address sanitizer keeps freed memory";
#endif
  for (const auto& [color, depth] : std::vector<std::pair<unsigned, unsigned>>{
           {0, 1}, {0, 8}, {0, 16}, {2, 8}, {2, 16}, {3, 1}, {3, 8}, {4, 8}, {4, 16}, {6, 8}, {6, 16}}) {
    for (const bool interlaced : {false, true}) {
      expect_stated_memory(black_png(color, depth, interlaced),
                           concat("PNG of type ", color, ", ", depth, " bits, interlaced ", interlaced));
    }
  }
  expect_stated_memory(black_webp(true), "lossless WebP");
  expect_stated_memory(black_webp(false), "WebP");
  expect_stated_memory(testing::many_scans_jpeg(2, kWidth), "progressive JPEG");
  expect_stated_memory(testing::palette_bmp(kWidth, kHeight), "BMP");
}

}  // namespace
}  // namespace minimind
