#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <functional>
#include <sstream>
#include <thread>

#include "base/file_descriptor.h"
#include "base/output.h"
#include "minimind/base/error.h"
#include "minimind/base/file.h"
#include "support/error_of.h"

namespace minimind {
namespace {

using testing::error_of;

class ForeignFile : public ::testing::Test {
 protected:
  ForeignFile() : folder_(fs::temp_directory_path() / concat("minimind_foreign_", ::getpid())) {
    fs::create_directories(folder_);
  }
  ~ForeignFile() override { fs::remove_all(folder_); }

  fs::path pipe() const {
    ::mkfifo((folder_ / "pipe").c_str(), 0600);
    return folder_ / "pipe";
  }
  fs::path socket() const {
    const fs::path path = folder_ / "socket";
    const FileDescriptor listener(::socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.string().copy(address.sun_path, sizeof(address.sun_path) - 1);
    ::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address));
    return path;
  }
  mode_t mode_of(const fs::path& path) const {
    struct stat status {};
    ::lstat(path.c_str(), &status);
    return status.st_mode;
  }

  fs::path folder_;
};

TEST_F(ForeignFile, IsNeverReadAndNamesItsKindAtOnce) {
  const std::vector<std::pair<fs::path, std::string>> cases = {
      {pipe(), "a pipe"}, {socket(), "a socket"}, {"/dev/zero", "a device"}, {folder_, "a folder"}};
  for (const auto& [path, kind] : cases) {
    const std::string expected = concat(path.string(), ": expected a file, found ", kind);
    EXPECT_EQ(error_of([&] { read_file(path); }).substr(0, expected.size()), expected);
    EXPECT_EQ(error_of([&] { MappedFile mapped(path); }).substr(0, expected.size()), expected);
    EXPECT_EQ(error_of([&] { open_file(path, O_RDWR | O_CREAT); }).substr(0, expected.size()), expected);
  }
}

TEST_F(ForeignFile, OfAnImpossibleSizeIsNotReadIntoMemory) {
  const fs::path path = folder_ / "sparse";
  write_file_atomically(path, "x");
  fs::resize_file(path, uint64_t{1} << 40U);
  EXPECT_NE(error_of([&] { read_file(path); }).find("is it the right file?"), std::string::npos);
}

TEST_F(ForeignFile, KeepsItsModeWhenItIsReplaced) {
  for (const mode_t mode : {0600U, 0640U, 0755U}) {
    write_file_atomically(folder_ / "a", "old");
    ::chmod((folder_ / "a").c_str(), mode);
    write_file_atomically(folder_ / "a", "new");
    EXPECT_EQ(mode_of(folder_ / "a") & 07777U, mode);
  }
}

TEST_F(ForeignFile, TakesTheUsersUmaskWhenItIsNew) {
  const mode_t before = ::umask(002);
  write_file_atomically(folder_ / "new", "x");
  ::umask(before);
  EXPECT_EQ(mode_of(folder_ / "new") & 07777U, 0664U);
}

TEST_F(ForeignFile, BehindALinkIsReplacedAndTheLinkStays) {
  fs::create_directories(folder_ / "far");
  write_file_atomically(folder_ / "far/file", "old");
  fs::create_symlink("far/file", folder_ / "first");
  fs::create_symlink("first", folder_ / "second");
  write_file_atomically(folder_ / "second", "new");
  EXPECT_TRUE(fs::is_symlink(folder_ / "second"));
  EXPECT_TRUE(fs::is_symlink(folder_ / "first"));
  EXPECT_EQ(read_file(folder_ / "far/file"), "new");
  fs::create_symlink(folder_ / "far/fresh", folder_ / "to_nothing");
  write_file_atomically(folder_ / "to_nothing", "made");
  EXPECT_TRUE(fs::is_symlink(folder_ / "to_nothing"));
  EXPECT_EQ(read_file(folder_ / "far/fresh"), "made");
}

TEST_F(ForeignFile, OfLinksInACircleIsAnError) {
  fs::create_symlink("b", folder_ / "a");
  fs::create_symlink("a", folder_ / "b");
  EXPECT_NE(error_of([&] { write_file_atomically(folder_ / "a", "x"); }).find("cannot be written"), std::string::npos);
  EXPECT_TRUE(fs::is_symlink(folder_ / "a"));
}

TEST_F(ForeignFile, ThatIsACharacterDeviceIsWrittenInPlace) {
  const fs::path device = folder_ / "null";
  if (::mknod(device.c_str(), S_IFCHR | 0666, ::makedev(1, 3)) != 0) {
    fs::create_symlink("/dev/null", device);  // not root
  }
  write_file_atomically(device, "lost");
  append_to_file(device, "lost");
  struct stat status {};
  ASSERT_EQ(::stat(device.c_str(), &status), 0);
  EXPECT_TRUE(S_ISCHR(status.st_mode));
  EXPECT_NE(error_of([] { write_file_atomically("/dev/full", "x"); }).find("/dev/full: cannot be written"),
            std::string::npos);
}

TEST_F(ForeignFile, ThatIsAPipeIsWrittenToItsReaderOrRefused) {
  const fs::path path = pipe();
  EXPECT_NE(error_of([&] { write_file_atomically(path, "x"); }).find("nobody reads"), std::string::npos);
  EXPECT_NE(error_of([&] { append_to_file(path, "x"); }).find("nobody reads"), std::string::npos);
  const FileDescriptor reader(::open(path.c_str(), O_RDONLY | O_NONBLOCK));
  { const AtomicFile probe(path); }  // opens nothing, so that the reader does not see an end
  write_file_atomically(path, "through the pipe");
  char bytes[64] = {};
  EXPECT_EQ(::read(reader.get(), bytes, sizeof(bytes)), 16);
  EXPECT_STREQ(bytes, "through the pipe");
  EXPECT_TRUE(S_ISFIFO(mode_of(path)));
}

TEST_F(ForeignFile, ThatCannotBeWrittenInPlaceIsRefused) {
  for (const auto& [path, kind] : {std::pair(socket(), "a socket"), std::pair(folder_, "a folder")}) {
    const std::string expected = concat(path.string(), ": expected a file to write, found ", kind);
    EXPECT_EQ(error_of([&] { write_file_atomically(path, "x"); }).substr(0, expected.size()), expected);
    EXPECT_EQ(error_of([&] { append_to_file(path, "x"); }).substr(0, expected.size()), expected);
  }
  const fs::path disk = folder_ / "disk";
  if (::mknod(disk.c_str(), S_IFBLK | 0600, ::makedev(7, 250)) == 0) {
    EXPECT_NE(error_of([&] { write_file_atomically(disk, "x"); }).find("found a disk"), std::string::npos);
    EXPECT_TRUE(S_ISBLK(mode_of(disk)));
  }
}

TEST_F(ForeignFile, OfStandardOutputIsWrittenAndNotReplaced) {
  const fs::path path = folder_ / "out";
  const FileDescriptor kept(::dup(STDOUT_FILENO));
  const FileDescriptor file(::open(path.c_str(), O_WRONLY | O_CREAT, 0644));
  std::fflush(stdout);
  ::dup2(file.get(), STDOUT_FILENO);
  const bool before = ::write(STDOUT_FILENO, "before ", 7) == 7;
  write_file_atomically("/dev/stdout", "report ");
  const bool after = ::write(STDOUT_FILENO, "after", 5) == 5;
  ::dup2(kept.get(), STDOUT_FILENO);
  EXPECT_TRUE(before && after);
  EXPECT_EQ(read_file(path), "before report after");
}

TEST_F(ForeignFile, WithTheNameOfATemporaryIsNotRemovedUnlessItIsAFile) {
  const fs::path strange = folder_ / concat("x.tmp.", ::getpid(), ".7");
  ::mkfifo(strange.c_str(), 0600);
  remove_stale_temporaries(folder_);
  EXPECT_TRUE(fs::exists(strange));
}

class FullStream : public std::stringbuf {
 protected:
  int sync() override {
    errno = ENOSPC;
    return -1;
  }
};

TEST(Output, ThatCannotBeWrittenIsAnErrorWithItsReason) {
  std::ostringstream good;
  good << "x";
  EXPECT_EQ(error_of([&] { require_written(good); }), "");
  FullStream full;
  std::ostream bad(&full);
  EXPECT_NE(error_of([&] { require_written(bad); }).find("No space left"), std::string::npos);
  EXPECT_NE(error_of([&] { require_written(bad); }).find("standard output"), std::string::npos) << "once lost, lost";
}

}  // namespace
}  // namespace minimind
