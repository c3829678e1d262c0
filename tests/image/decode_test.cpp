#include "minimind/image/decode.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <cstdlib>
#include <numeric>

#include "image/sample_images.h"
#include "minimind/base/error.h"
#include "minimind/image/encode.h"

namespace minimind {
namespace {

/// The message of the Error that decoding throws; empty where it succeeds.
std::string decode_error(std::string_view bytes, const DecodeLimits& limits = {}) {
  try {
    decode_image(bytes, "image", limits);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

void put_big_endian(std::string& bytes, size_t at, uint32_t value, int count) {
  for (int i = 0; i < count; ++i) {
    bytes[at + static_cast<size_t>(i)] = static_cast<char>(value >> (8 * (count - 1 - i)));
  }
}

void put_little_endian(std::string& bytes, size_t at, uint32_t value, int count) {
  for (int i = 0; i < count; ++i) {
    bytes[at + static_cast<size_t>(i)] = static_cast<char>(value >> (8 * i));
  }
}

TEST(DecodeImage, ReadsEveryFormat) {
  for (const testing::SampleFile& file : testing::sample_files()) {
    SCOPED_TRACE(file.format);
    const Image image = decode_image(file.bytes, "image");
    EXPECT_EQ(image.width, 13);
    EXPECT_EQ(image.height, 9);
    EXPECT_EQ(image.pixels.size(), 13U * 9 * 3);
    EXPECT_NE(std::accumulate(image.pixels.begin(), image.pixels.end(), 0), 0);
  }
}

TEST(DecodeImage, NamesWhatAFileIsThatIsNoImage) {
  EXPECT_TRUE(contains(decode_error(""), "image: expected a JPEG, PNG, BMP, GIF or WebP image, found an empty file"));
  EXPECT_TRUE(contains(decode_error("<html><body>404</body>"), "found a web page"));
  EXPECT_TRUE(contains(decode_error("a letter"), "found a file that begins with 'a letter'"));
  EXPECT_TRUE(contains(decode_error(std::string("\0\1\2", 3)), "found a file that begins with the bytes 00 01 02"));
}

TEST(DecodeImage, RefusesAFileThatIsCutAnywhere) {
  for (const testing::SampleFile& file : testing::sample_files()) {
    // A GIF's last pixels come before its end code, an empty block and the end mark, a PNG's before its end chunk.
    const size_t whole = file.bytes.size() - (file.format == "GIF" ? 4 : file.format == "PNG" ? 12 : 0);
    for (size_t size = 0; size < whole; ++size) {
      const std::string message = decode_error(std::string_view(file.bytes).substr(0, size));
      ASSERT_TRUE(contains(message, "expected")) << file.format << " cut to " << size << " of " << whole;
    }
  }
}

TEST(DecodeImage, TakesAPngWithoutItsEndChunkAsPillowDoes) {
  for (const testing::SampleFile& file : testing::sample_files()) {
    if (file.format != "PNG") {
      continue;
    }
    const Image whole = decode_image(file.bytes, "image");
    for (size_t missing = 1; missing <= 12; ++missing) {
      const Image cut = decode_image(file.bytes.substr(0, file.bytes.size() - missing), "image");
      EXPECT_EQ(cut.pixels, whole.pixels) << missing;
    }
    const std::string begun = file.bytes.substr(0, file.bytes.size() - 12) + std::string("\0\0\0\5tEXtab", 10);
    EXPECT_TRUE(contains(decode_error(begun), "cut short"));
  }
}

TEST(DecodeImage, SurvivesEveryDamagedByte) {
  size_t refused = 0;
  size_t read = 0;
  for (const testing::SampleFile& file : testing::sample_files()) {
    for (size_t at = 0; at < file.bytes.size(); ++at) {
      for (const int change : {0x01, 0x80, 0xFF}) {
        std::string damaged = file.bytes;
        damaged[at] = static_cast<char>(damaged[at] ^ change);
        (decode_error(damaged, {100'000, 10'000}).empty() ? read : refused) += 1;
      }
    }
  }
  EXPECT_GT(refused, 1000U);
  EXPECT_GT(read, 1000U);
}

TEST(DecodeImage, RefusesImagesAboveTheLimits) {
  for (const testing::SampleFile& file : testing::sample_files()) {
    SCOPED_TRACE(file.format);
    EXPECT_EQ(decode_error(file.bytes, {13 * 9, 13}), "");
    EXPECT_TRUE(contains(decode_error(file.bytes, {13 * 9 - 1, 13}), "at most 116 pixels and 13 a side, found a"));
    EXPECT_TRUE(contains(decode_error(file.bytes, {13 * 9, 12}), "of 13x9; make it smaller"));
  }
}

TEST(DecodeImage, RefusesHugeHeadersBeforeAllocating) {
  std::vector<testing::SampleFile> files = testing::sample_files();
  put_big_endian(files[0].bytes, files[0].bytes.find("\xFF\xC0") + 5, 0xFFDCFFDC, 4);
  put_little_endian(files[2].bytes, 18, 0x7FFFFFFF, 4);
  put_little_endian(files[2].bytes, 22, 0x7FFFFFFF, 4);
  put_little_endian(files[3].bytes, 6, 0xFFFFFFFF, 4);
  put_little_endian(files[4].bytes, 21, 0x0FFFFFFF, 4);
  files.erase(files.begin() + 1);
  for (const testing::SampleFile& file : files) {
    SCOPED_TRACE(file.format);
    EXPECT_TRUE(contains(decode_error(file.bytes), "expected an image of at most")) << decode_error(file.bytes);
  }
  // PNG covers its header by a checksum, known here for 2147483647x2147483647, 8 bits RGB.
  std::string png = testing::sample_files()[1].bytes;
  put_big_endian(png, 16, 0x7FFFFFFF, 4);
  put_big_endian(png, 20, 0x7FFFFFFF, 4);
  EXPECT_TRUE(contains(decode_error(png), "a wrong checksum"));
  put_big_endian(png, 29, 0x9BAB9C31, 4);
  EXPECT_TRUE(contains(decode_error(png), "expected an image of at most")) << decode_error(png);
}

TEST(DecodeImage, RefusesPngImagesWhoseBytesOverflow32Bits) {
  std::string png = testing::sample_files()[1].bytes;
  const auto error_of_size = [&](uint32_t width, uint32_t height) {
    put_big_endian(png, 16, width, 4);
    put_big_endian(png, 20, height, 4);
    const auto* const header = reinterpret_cast<const Bytef*>(png.data()) + 12;
    put_big_endian(png, 29, static_cast<uint32_t>(::crc32(0, header, 17)), 4);
    return decode_error(png, {int64_t{1} << 40, 65'535});
  };
  EXPECT_TRUE(
      contains(error_of_size(65'535, 5462), "at most 357913941 pixels and 65535 a side, found a PNG of 65535x5462"));
  EXPECT_TRUE(contains(error_of_size(18, 4), "PNG")) << "a size that the data do not have";
}

TEST(DecodeImage, RefusesAnImageThatTakesMoreMemoryThanAllowed) {
  for (const testing::SampleFile& file : testing::sample_files()) {
    SCOPED_TRACE(file.format);
    DecodeLimits limits;
    limits.max_bytes = 3 * 13 * 9 - 1;
    int64_t needed = 0;
    try {
      decode_image(file.bytes, "image", limits);
    } catch (const ImageTakesTooMuch& error) {
      EXPECT_TRUE(contains(error.what(), "13x9 that takes")) << error.what();
      needed = error.bytes();
    }
    ASSERT_GT(needed, limits.max_bytes);
    limits.max_bytes = needed;
    EXPECT_EQ(decode_error(file.bytes, limits), "");
  }
}

TEST(DecodeImage, PutsTheFirstFrameOfAWebpAnimationOnABlackCanvas) {
  const Image frame = testing::noise_image(13, 9, 1);
  const Image image = decode_image(testing::animated_webp(20, 4), "image");
  ASSERT_EQ(image.width, 20);
  ASSERT_EQ(image.height, 9);
  for (int64_t y = 0; y < 9; ++y) {
    for (int64_t x = 0; x < 20 * 3; ++x) {
      const int64_t in_frame = x - 4 * 3;
      const bool is_inside = in_frame >= 0 && in_frame < 13 * 3;
      EXPECT_EQ(image.pixels[static_cast<size_t>(y * 20 * 3 + x)],
                is_inside ? frame.pixels[static_cast<size_t>(y * 13 * 3 + in_frame)] : 0);
    }
  }
}

TEST(DecodeImage, RefusesAWebpFrameOutsideItsCanvas) {
  EXPECT_EQ(decode_error(testing::animated_webp(17, 4)), "");
  EXPECT_TRUE(contains(decode_error(testing::animated_webp(16, 4)), "image: expected a whole WebP image, found"));
}

TEST(DecodeImage, RefusesAWebpAnimationWhoseFirstFrameIsCut) {
  const std::string whole = testing::animated_webp(20, 4);
  for (size_t size = 0; size < whole.size() - 1; ++size) {
    EXPECT_NE(decode_error(std::string_view(whole).substr(0, size)), "") << size;
  }
}

TEST(DecodeImage, ShowsTheColorOfTransparentGifPixels) {
  const Image image = decode_image(testing::four_color_gif(), "image");
  const std::vector<uint8_t> expected = {255, 0, 0, 0, 255, 0, 0, 0, 255, 9,   9, 9,
                                         9,   9, 9, 9, 9,   9, 9, 9, 9,   255, 0, 0};
  EXPECT_EQ(image.pixels, expected);
}

TEST(DecodeImage, ReadsPaletteBmpFromTheBottom) {
  const Image image = decode_image(testing::palette_bmp(5, 3), "image");
  for (size_t i = 0; i < 15; ++i) {
    EXPECT_EQ(image.pixels[3 * i], i);
    EXPECT_EQ(image.pixels[3 * i + 1], 255 - i);
    EXPECT_EQ(image.pixels[3 * i + 2], 7);
  }
}

TEST(DecodeImage, ShowsIndicesOutsideThePaletteInBlack) {
  std::string bmp = testing::palette_bmp(5, 3);
  put_little_endian(bmp, 46, 10, 4);
  const Image image = decode_image(bmp, "image");
  EXPECT_EQ(image.pixels[3 * 9], 9);
  EXPECT_EQ(image.pixels[3 * 9 + 2], 7);
  for (size_t i = 3 * 10; i < image.pixels.size(); ++i) {
    EXPECT_EQ(image.pixels[i], 0);
  }
}

TEST(DecodeImage, ReadsAPngPaletteOfTwoColorsAndAnIndexOutsideIt) {
  const std::vector<uint8_t> png = {
      0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44, 0x52, 0x00, 0x00,
      0x00, 0x03, 0x00, 0x00, 0x00, 0x01, 0x08, 0x03, 0x00, 0x00, 0x00, 0x2c, 0x3e, 0xe4, 0x86, 0x00, 0x00, 0x00,
      0x06, 0x50, 0x4c, 0x54, 0x45, 0x0a, 0x14, 0x1e, 0x28, 0x32, 0x3c, 0xd5, 0x1b, 0xb4, 0xe9, 0x00, 0x00, 0x00,
      0x0c, 0x49, 0x44, 0x41, 0x54, 0x78, 0xda, 0x63, 0x60, 0x64, 0x65, 0x00, 0x00, 0x00, 0x11, 0x00, 0x07, 0xed,
      0x16, 0x0e, 0x0a, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82};
  const Image image = decode_image({reinterpret_cast<const char*>(png.data()), png.size()}, "image");
  EXPECT_EQ(image.pixels, (std::vector<uint8_t>{40, 50, 60, 0, 0, 0, 10, 20, 30}));
}

TEST(DecodeImage, StopsAtAJpegOfEndlessScans) {
  EXPECT_EQ(decode_error(testing::many_scans_jpeg(20)), "");
  EXPECT_TRUE(contains(decode_error(testing::many_scans_jpeg(600)), "too many scans"));
  EXPECT_TRUE(contains(decode_error(testing::many_scans_jpeg(100, 7000)), "too many scans"));
}

TEST(DecodeImage, AsksBeforeThePixelsOfEveryFormatWhetherToGoOn) {
  for (const testing::SampleFile& file : testing::sample_files()) {
    SCOPED_TRACE(file.format);
    DecodeLimits limits;
    limits.go_on = [](int64_t pixels) { return pixels != 13 * 9; };
    EXPECT_TRUE(contains(decode_error(file.bytes, limits), "image: its reading was stopped"));
  }
}

TEST(DecodeImage, AsksInEveryScanOfAJpegWhetherToGoOn) {
  const std::string jpeg = testing::many_scans_jpeg(30);
  DecodeLimits limits;
  int64_t pixels = 0;
  limits.go_on = [&](int64_t more) {
    pixels += more;
    return true;
  };
  EXPECT_EQ(decode_error(jpeg, limits), "");
  EXPECT_GT(pixels, 30 * 16 * 16);
  EXPECT_LT(pixels, 42 * 16 * 16);
  const int64_t all = pixels;
  pixels = 0;
  limits.go_on = [&](int64_t more) {
    pixels += more;
    return pixels < all / 2;
  };
  EXPECT_TRUE(contains(decode_error(jpeg, limits), "image: its reading was stopped"));
  EXPECT_LT(pixels, all / 2 + 2 * 16 * 16);
}

TEST(EncodePng, GivesEveryByteBack) {
  for (const auto& [width, height] : {std::pair{1, 1}, {13, 9}, {300, 2}, {1, 700}}) {
    const Image image = testing::noise_image(width, height, 3);
    const Image again = decode_image(encode_png(image), "image");
    EXPECT_EQ(again.width, width);
    EXPECT_EQ(again.height, height);
    EXPECT_EQ(again.pixels, image.pixels);
  }
}

TEST(EncodeJpeg, StaysCloseAndShrinksWithQuality) {
  Image image{64, 48, std::vector<uint8_t>(64 * 48 * 3)};
  for (size_t i = 0; i < image.pixels.size(); ++i) {
    image.pixels[i] = static_cast<uint8_t>(i / 3 % 64 + i / 192 * 2 + i % 3 * 20);
  }
  const std::string fine = encode_jpeg(image, 95);
  const Image again = decode_image(fine, "image");
  int largest = 0;
  for (size_t i = 0; i < image.pixels.size(); ++i) {
    largest = std::max(largest, std::abs(image.pixels[i] - again.pixels[i]));
  }
  EXPECT_LE(largest, 12);
  EXPECT_GT(fine.size(), encode_jpeg(image, 20).size());
}

TEST(EncodeJpeg, RefusesQualitiesThatDoNotExist) {
  const Image image = testing::noise_image(2, 2, 1);
  EXPECT_THROW(encode_jpeg(image, 0), Error);
  EXPECT_THROW(encode_jpeg(image, 101), Error);
  EXPECT_THROW(encode_jpeg(Image{}, 90), std::logic_error);
  EXPECT_THROW(encode_png(Image{}), std::logic_error);
}

TEST(ImageNames, EndInAKnownFormat) {
  for (const char* name : {"a.jpg", "b/c.JPEG", "x.Png", "x.bmp", "x.gif", "x.webp", "x.JFIF", "x.jpe", "x.dib"}) {
    EXPECT_TRUE(has_image_name(name)) << name;
  }
  for (const char* name : {"a.txt", "jpg", ".jpg", "a.jpg.txt", "a."}) {
    EXPECT_FALSE(has_image_name(name)) << name;
  }
}

}  // namespace
}  // namespace minimind
