#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "image/exif.h"
#include "image/sample_images.h"
#include "minimind/base/error.h"
#include "minimind/image/decode.h"

namespace minimind {
namespace {

using namespace std::literals;

std::string box(const std::string& brands) {
  return std::string("\0\0\0", 3) + static_cast<char>(8 + brands.size()) + "ftyp" + brands + std::string(20, '\0');
}

TEST(ForeignImages, AreNamedWithTheCure) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {box("heic"s + "\0\0\0\0"s + "mif1heic"), "HEIC"},
      {box("mif1"s + "\0\0\0\0"s + "mif1heic"), "HEIC"},
      {box("mif1"s + "\0\0\0\0"s + "mif1avif"), "AVIF"},
      {box("avif"s + "\0\0\0\0"s + "avifmif1"), "AVIF"},
      {box("qt  "s + "\0\0\0\0"s + "qt  "), "video"},
      {box("isom"s + "\0\0\2\0"s + "isommp42"), "video"},
      {"II*\0\x08\0\0\0"s, "TIFF"},
      {"MM\0*\0\0\0\x08"s, "TIFF"},
      {"%PDF-1.4\n", "PDF"},
      {"\0\0\0\x0CJXL \r\n\x87\n"s, "JPEG XL"},
      {"\xFF\x0A\x01\x02", "JPEG XL"},
      {"\0\0\0\x0CjP  \r\n\x87\n"s, "JP2"},
      {"\xFF\x4F\xFF\x51", "JPEG 2000"},
      {"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"},
      {"<!DOCTYPE html><html><body>404</body></html>", "web page"},
      {"\r\n  <HTML><head>", "web page"},
      {"<?xml version='1.0'?><svg width='1'/>", "SVG"},
      {"8BPS\0\1"s, "Photoshop"},
      {"\0\5\x16\7\0\2"s, "Mac"},
      {"PK\3\4"s, "zip archive"},
      {"", "an empty file"}};
  for (const auto& [bytes, word] : cases) {
    try {
      decode_image(bytes, "file");
      ADD_FAILURE() << word;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
    }
  }
}

/// A JPEG with these EXIF tags behind its start.
std::string with_exif(const std::string& tags) {
  const std::string body = "Exif\0\0"s + tags;
  const std::string length{static_cast<char>((body.size() + 2) >> 8U), static_cast<char>(body.size() + 2)};
  return "\xFF\xD8\xFF\xE1" + length + body + "\xFF\xDA";
}

TEST(TurnedPhotos, AreNotedInEveryFormatThatHoldsExif) {
  const std::string little = "II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"s;
  const std::string big = "MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x03\0\0\0\0\0\0"s;
  const std::string upright = "II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x01\0\0\0\0\0\0\0"s;
  EXPECT_NE(turned_by_exif(with_exif(little)).find("orientation is 6"), std::string::npos);
  EXPECT_NE(turned_by_exif(with_exif(big)).find("orientation is 3"), std::string::npos);
  EXPECT_EQ(turned_by_exif(with_exif(upright)), "");
  const std::string size{static_cast<char>(little.size()), 0, 0, 0};
  const std::string png =
      "\x89PNG\r\n\x1A\n\0\0\0\1tEXtaCRC_"s + std::string(size.rbegin(), size.rend()) + "eXIf" + little;
  EXPECT_NE(turned_by_exif(png).find("orientation is 6"), std::string::npos);
  const std::string webp = "RIFF\0\0\0\0WEBPVP8X\1\0\0\0a\0EXIF"s + size + little;
  EXPECT_NE(turned_by_exif(webp).find("orientation is 6"), std::string::npos);
  for (const testing::SampleFile& file : testing::sample_files()) {
    EXPECT_EQ(turned_by_exif(file.bytes), "") << file.format;
  }
}

TEST(TurnedPhotos, DamagedTagsAreNoOrientation) {
  const std::string whole = with_exif("II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"s);
  for (size_t length = 0; length < 30; ++length) {
    EXPECT_EQ(turned_by_exif(whole.substr(0, length)), "") << length;
  }
  EXPECT_EQ(turned_by_exif(with_exif("II*\0\xFF\xFF\xFF\xFF"s)), "");
  EXPECT_EQ(turned_by_exif(with_exif("MM\0*\0\0\0\x08\xFF\xFF"s)), "");
}

}  // namespace
}  // namespace minimind
