#include "base/bytes.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/text.h"

namespace minimind {
namespace {

TEST(Bytes, LittleEndianNumbersComeBack) {
  std::string bytes;
  append_little_endian(bytes, uint16_t{0x0201});
  append_little_endian(bytes, uint32_t{0xFFFEFDFC});
  append_little_endian(bytes, int64_t{-2});
  EXPECT_EQ(bytes, std::string("\x01\x02\xFC\xFD\xFE\xFF\xFE\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 14));
  EXPECT_EQ(read_little_endian<uint16_t>(bytes), 0x0201);
  EXPECT_EQ(read_little_endian<uint32_t>(bytes, 2), 0xFFFEFDFC);
  EXPECT_EQ(read_little_endian<int64_t>(bytes, 6), -2);
}

TEST(Bytes, VarintsComeBack) {
  const std::vector<uint64_t> values = {0, 1, 127, 128, 300, UINT32_MAX, UINT64_MAX};
  std::string bytes;
  for (const uint64_t value : values) {
    append_varint(bytes, value);
  }
  EXPECT_EQ(bytes.substr(0, 7), std::string("\x00\x01\x7F\x80\x01\xAC\x02", 7));
  const char* next = bytes.data();
  for (const uint64_t value : values) {
    EXPECT_EQ(read_varint(next), value);
  }
  EXPECT_EQ(next, bytes.data() + bytes.size());
}

TEST(Bytes, Base64ComesBack) {
  EXPECT_EQ(encode_base64(""), "");
  EXPECT_EQ(encode_base64("foob\xFF\xFE"), "Zm9vYv/+");
  std::string bytes;
  for (int i = 0; i < 256; ++i) {
    EXPECT_EQ(decode_base64(encode_base64(bytes)).value(), bytes);
    bytes += static_cast<char>(i);
  }
}

TEST(Bytes, Base64IsStrict) {
  EXPECT_EQ(decode_base64("").value(), "");
  EXPECT_EQ(decode_base64("AA==").value(), std::string(1, '\0'));
  EXPECT_EQ(decode_base64("+/+/").value(), "\xFB\xFF\xBF");
  for (const char* text : {"A", "AA", "AAA", "AAAAA", "AA=A", "=AAA", "A===", "====", "AAAA====", "AAA*", "AA A",
                           "AAA\n", "-_-_", "AB==", "AAB=", "\xC3\xA4=="}) {
    EXPECT_FALSE(decode_base64(text).has_value()) << text;
  }
}

TEST(Text, IsStrippedAndLowered) {
  EXPECT_EQ(strip(" \t\r\n\v\fa b\n"), "a b");
  EXPECT_EQ(strip("\v a", " "), "\v a");
  EXPECT_EQ(strip(" \n"), "");
  EXPECT_EQ(lower_case("AZ@[ .PTH É"), "az@[ .pth É");
}

}  // namespace
}  // namespace minimind
