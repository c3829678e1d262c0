#include "base/file_descriptor.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "minimind/base/error.h"

namespace minimind {
namespace {

TEST(FileDescriptor, ReadsAndWritesAtAnOffset) {
  const std::filesystem::path path = std::filesystem::temp_directory_path() / concat("minimind_fd_", ::getpid());
  {
    const FileDescriptor file = open_file(path, O_RDWR | O_CREAT | O_TRUNC);
    ASSERT_TRUE(write_all(file.get(), "0123456789", 0));
    ASSERT_TRUE(write_all(file.get(), "ab", 4));
    std::string bytes(4, ' ');
    read_exactly(file.get(), bytes.data(), bytes.size(), 3, "f");
    EXPECT_EQ(bytes, "3ab6");
    EXPECT_EQ(read_up_to(file.get(), bytes.data(), bytes.size(), 8), 2U);
    try {
      read_exactly(file.get(), bytes.data(), bytes.size(), 8, "f");
      ADD_FAILURE() << "read behind the end";
    } catch (const Error& error) {
      EXPECT_EQ(std::string(error.what()).find("f: expected 4 bytes at offset 8, found the end of the file after 2"),
                0U);
    }
  }
  std::filesystem::remove(path);
  EXPECT_THROW(open_file(path, O_RDONLY), Error);
  char byte = 0;
  EXPECT_THROW(read_exactly(-1, &byte, 1, 0, "f"), Error);
  EXPECT_FALSE(write_all(-1, "x", 0));
}

TEST(FileDescriptor, IsClosedByItsLastOwner) {
  FileDescriptor first = open_file("/proc/self/status", O_RDONLY);
  const int number = first.get();
  {
    const FileDescriptor second = std::move(first);
    EXPECT_EQ(second.get(), number);
    EXPECT_NE(::fcntl(number, F_GETFD), -1);
  }
  EXPECT_EQ(::fcntl(number, F_GETFD), -1);
}

}  // namespace
}  // namespace minimind
