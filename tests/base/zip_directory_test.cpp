#include "base/zip_directory.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/bytes.h"
#include "minimind/base/error.h"

namespace minimind {
namespace {

/// An archive of one stored entry `a.txt` with the content `hello`.
struct ZipText {
  bool zip64 = false;
  std::string comment;
  std::string extra_tail;  ///< further bytes of the entry's extra field

  std::string bytes() const {
    std::string file;
    put(file, {{0x04034B50, 4}, {20, 2}, {0, 2}, {0, 2}, {0, 4}, {kCrc, 4}, {5, 4}, {5, 4}, {5, 2}, {3, 2}});
    file += "a.txt...hello";
    const uint64_t directory = file.size();
    std::string extra = extra_tail;
    if (zip64) {
      std::string field;
      put(field, {{1, 2}, {24, 2}, {5, 8}, {5, 8}, {0, 8}});
      extra = field + extra;
    }
    const uint64_t size = zip64 ? UINT32_MAX : 5;
    put(file, {{0x02014B50, 4}, {20, 2}, {20, 2}, {0, 2}, {0, 2}, {0, 4}, {kCrc, 4}, {size, 4}, {size, 4}, {5, 2}});
    put(file, {{extra.size(), 2}, {0, 2}, {0, 2}, {0, 2}, {0, 4}, {zip64 ? UINT32_MAX : 0, 4}});
    file += "a.txt" + extra;
    const uint64_t directory_size = file.size() - directory;
    if (zip64) {
      const uint64_t record = file.size();
      put(file, {{0x06064B50, 4},
                 {44, 8},
                 {45, 2},
                 {45, 2},
                 {0, 4},
                 {0, 4},
                 {1, 8},
                 {1, 8},
                 {directory_size, 8},
                 {directory, 8}});
      put(file, {{0x07064B50, 4}, {0, 4}, {record, 8}, {1, 4}});
    }
    put(file, {{0x06054B50, 4},
               {0, 2},
               {0, 2},
               {1, 2},
               {1, 2},
               {zip64 ? UINT32_MAX : directory_size, 4},
               {zip64 ? UINT32_MAX : directory, 4},
               {comment.size(), 2}});
    return file + comment;
  }

  static constexpr uint32_t kCrc = 0x3610A686;

 private:
  static void put(std::string& out, const std::vector<std::pair<uint64_t, size_t>>& numbers) {
    for (const auto& [value, width] : numbers) {
      std::string number;
      append_little_endian(number, value);
      out += number.substr(0, width);
    }
  }
};

ReadAt reader_of(const std::string& file) {
  return [&file](uint64_t offset, char* out, size_t bytes) {
    require(offset <= file.size() && bytes <= file.size() - offset, "z.zip: expected more bytes");
    std::memcpy(out, file.data() + offset, bytes);
  };
}

std::vector<ZipEntry> entries_of(const std::string& file) {
  std::vector<ZipEntry> entries;
  read_zip_directory(reader_of(file), file.size(), "z.zip",
                     [&](ZipEntry&& entry) { entries.push_back(std::move(entry)); });
  return entries;
}

std::string error_of(const std::string& file) {
  try {
    entries_of(file);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

class ZipDirectoryForms : public ::testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(WithoutAndWithZip64, ZipDirectoryForms, ::testing::Bool());

TEST_P(ZipDirectoryForms, GivesEntriesAndTheirData) {
  for (const std::string& comment : {std::string(), std::string(65535, 'c')}) {
    const std::string file = ZipText{GetParam(), comment, std::string("\x99\x00\x01\x00x", 5)}.bytes();
    const std::vector<ZipEntry> entries = entries_of(file);
    ASSERT_EQ(entries.size(), 1U);
    EXPECT_EQ(entries[0].name, "a.txt");
    EXPECT_EQ(entries[0].size, 5U);
    EXPECT_EQ(entries[0].compressed_size, 5U);
    EXPECT_EQ(entries[0].header_offset, 0U);
    EXPECT_EQ(entries[0].crc, ZipText::kCrc);
    EXPECT_EQ(file.substr(zip_data_offset(reader_of(file), entries[0], "z.zip: a.txt"), 5), "hello");
  }
}

TEST_P(ZipDirectoryForms, RefusesAFileThatWasCut) {
  const std::string file = ZipText{GetParam(), "comment", ""}.bytes();
  for (size_t size = 0; size < file.size(); ++size) {
    EXPECT_TRUE(error_of(file.substr(0, size)).starts_with("z.zip: expected ")) << size;
    if (size > 0) {
      EXPECT_NE(error_of(file.substr(file.size() - size)), "") << size;
    }
  }
}

TEST(ZipDirectory, AllowsBytesBehindTheComment) {
  EXPECT_EQ(entries_of(ZipText{}.bytes() + "more").size(), 1U);
}

TEST(ZipDirectory, NamesWhatIsWrong) {
  const std::string file = ZipText{}.bytes();
  const size_t entry = file.find("PK\x01\x02");
  const size_t end = file.find("PK\x05\x06");
  const auto changed = [&](size_t at, const std::string& bytes) {
    std::string copy = file;
    return error_of(copy.replace(at, bytes.size(), bytes));
  };
  EXPECT_NE(changed(end + 10, "\x02").find("expected 2 entries in the zip directory, found 1"), std::string::npos);
  EXPECT_NE(changed(end + 4, "\x01").find("a split archive"), std::string::npos);
  EXPECT_NE(changed(end + 16, "\xFF\xFF\xFF\x7F").find("expected the zip directory inside the file"),
            std::string::npos);
  EXPECT_NE(changed(entry, "XX").find("expected 1 entries in the zip directory, found only 0"), std::string::npos);
  EXPECT_NE(changed(entry + 28, "\x09").find("bytes of entry 0 in the zip directory"), std::string::npos);
  EXPECT_NE(changed(entry + 24, "\xFF\xFF\xFF\xFF").find("entry a.txt: expected its sizes in a ZIP64 field"),
            std::string::npos);
  ZipEntry wrong;
  wrong.header_offset = 1;
  EXPECT_THROW(zip_data_offset(reader_of(file), wrong, "z.zip"), Error);
}

}  // namespace
}  // namespace minimind
