#include "image/sample_images.h"

#include "minimind/image/encode.h"

// clang-format off
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <jpeglib.h>
// clang-format on
#include <webp/encode.h>

namespace minimind::testing {
namespace {

constexpr int64_t kWidth = 13;
constexpr int64_t kHeight = 9;

std::string little(uint64_t value, int bytes) {
  std::string result;
  for (int i = 0; i < bytes; ++i) {
    result += static_cast<char>(value >> (8 * i) & 0xFFU);
  }
  return result;
}

std::string webp_of(const Image& image) {
  uint8_t* bytes = nullptr;
  const size_t size = WebPEncodeLosslessRGB(image.pixels.data(), static_cast<int>(image.width),
                                            static_cast<int>(image.height), static_cast<int>(image.width * 3), &bytes);
  std::string result(reinterpret_cast<char*>(bytes), size);
  WebPFree(bytes);
  return result;
}

/// Codes of a GIF that uses no strings: every symbol follows a clear code.
std::string plain_gif(uint16_t width, uint16_t height) {
  std::string bits;
  unsigned held = 0;
  int count = 0;
  const auto put = [&](unsigned code) {
    held |= code << count;
    for (count += 9; count >= 8; count -= 8, held >>= 8) {
      bits += static_cast<char>(held & 0xFFU);
    }
  };
  for (int i = 0; i < width * height; ++i) {
    put(256);
    put(static_cast<unsigned>(i * 7 % 256));
  }
  put(257);
  bits += static_cast<char>(held);
  std::string data;
  for (size_t at = 0; at < bits.size(); at += 255) {
    const std::string block = bits.substr(at, 255);
    data += static_cast<char>(block.size());
    data += block;
  }
  return "GIF89a" + little(width, 2) + little(height, 2) + std::string("\0\0\0,\0\0\0\0", 8) + little(width, 2) +
         little(height, 2) + std::string("\0\x08", 2) + data + std::string("\0;", 2);
}

std::string progressive_jpeg() {
  jpeg_compress_struct info{};
  jpeg_error_mgr errors{};
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;  // NOLINT: libjpeg's type
  jpeg_mem_dest(&info, &bytes, &size);
  info.image_width = 16;
  info.image_height = 16;
  info.input_components = 1;
  info.in_color_space = JCS_GRAYSCALE;
  jpeg_set_defaults(&info);
  jpeg_simple_progression(&info);
  jpeg_start_compress(&info, TRUE);
  for (int y = 0; y < 16; ++y) {
    uint8_t row[16];
    for (int x = 0; x < 16; ++x) {
      row[x] = static_cast<uint8_t>(x * y);
    }
    JSAMPROW rows = row;
    jpeg_write_scanlines(&info, &rows, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  std::string result(reinterpret_cast<char*>(bytes), size);
  std::free(bytes);
  return result;
}

}  // namespace

Image noise_image(int64_t width, int64_t height, uint32_t seed) {
  Image image{width, height, std::vector<uint8_t>(static_cast<size_t>(width * height * 3))};
  uint32_t state = seed * 2654435761U + 1;
  for (uint8_t& value : image.pixels) {
    state = state * 1664525U + 1013904223U;
    value = static_cast<uint8_t>(state >> 24);
  }
  return image;
}

std::vector<SampleFile> sample_files() {
  const Image image = noise_image(kWidth, kHeight, 1);
  return {{"JPEG", encode_jpeg(image, 90)},
          {"PNG", encode_png(image)},
          {"BMP", palette_bmp(kWidth, kHeight)},
          {"GIF", plain_gif(kWidth, kHeight)},
          {"WebP", webp_of(image)}};
}

std::string animated_webp(int64_t canvas_width, int64_t x) {
  const auto number = [](int64_t value, int bytes) { return little(static_cast<uint64_t>(value), bytes); };
  const auto chunk = [&](const std::string& type, const std::string& body) {
    return type + number(std::ssize(body), 4) + body + std::string(body.size() % 2, '\0');
  };
  const std::string still = webp_of(noise_image(kWidth, kHeight, 1));
  const std::string frame = number(x / 2, 3) + number(0, 3) + number(kWidth - 1, 3) + number(kHeight - 1, 3) +
                            number(100, 3) + number(0, 1) + still.substr(12);
  return chunk("RIFF", "WEBP" + chunk("VP8X", number(2, 4) + number(canvas_width - 1, 3) + number(kHeight - 1, 3)) +
                           chunk("ANIM", number(0, 6)) + chunk("ANMF", frame));
}

std::string palette_bmp(uint16_t width, uint16_t height) {
  const size_t stride = (width + 3U) / 4 * 4;
  std::string palette;
  for (int i = 0; i < 256; ++i) {
    palette += little(7U | static_cast<unsigned>(255 - i) << 8 | static_cast<unsigned>(i) << 16, 4);
  }
  std::string pixels;
  for (int y = height - 1; y >= 0; --y) {
    std::string row(stride, '\0');
    for (int x = 0; x < width; ++x) {
      row[static_cast<size_t>(x)] = static_cast<char>((y * width + x) % 256);
    }
    pixels += row;
  }
  // The last row of the file goes without its padding, which nobody needs.
  pixels.resize(pixels.size() - (stride - width));
  const size_t offset = 14 + 40 + palette.size();
  return "BM" + little(offset + pixels.size(), 4) + little(0, 4) + little(offset, 4) + little(40, 4) +
         little(width, 4) + little(height, 4) + little(1, 2) + little(8, 2) + little(0, 4) + little(pixels.size(), 4) +
         little(0, 8) + little(256, 4) + little(0, 4) + palette + pixels;
}

std::string four_color_gif() {
  // Codes of 3 bits: clear 0 1 2, then of 4 bits: 3, 9 (the string "33"), 3, 0, end.
  const unsigned codes[] = {4, 0, 1, 2, 3, 9, 3, 0, 5};
  const int widths[] = {3, 3, 3, 3, 4, 4, 4, 4, 4};
  uint64_t bits = 0;
  int count = 0;
  for (size_t i = 0; i < 9; ++i) {
    bits |= uint64_t{codes[i]} << count;
    count += widths[i];
  }
  return "GIF89a" + little(8, 2) + little(1, 2) + std::string("\x81\0\0", 3) +
         std::string("\xFF\0\0\0\xFF\0\0\0\xFF\x09\x09\x09", 12) + std::string("!\xF9\x04\x01\0\0\x01\0", 8) + "," +
         little(0, 4) + little(8, 2) + little(1, 2) + std::string("\0\x02\x04", 3) + little(bits, 4) +
         std::string("\0;", 2);
}

std::string many_scans_jpeg(int repeats, uint16_t side) {
  std::string whole = progressive_jpeg();
  const size_t frame = whole.find("\xFF\xC2");  // its height and width lie behind marker, length and precision
  for (const size_t at : {frame + 5, frame + 7}) {
    whole[at] = static_cast<char>(side >> 8);
    whole[at + 1] = static_cast<char>(side);
  }
  const size_t last = whole.rfind("\xFF\xDA");
  const std::string scan = whole.substr(last, whole.size() - 2 - last);
  std::string result = whole.substr(0, last);
  for (int i = 0; i < repeats; ++i) {
    result += scan;
  }
  return result + "\xFF\xD9";
}

}  // namespace minimind::testing
