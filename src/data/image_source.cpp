#include "minimind/data/image_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include "data/detail/file_descriptor.h"
#include "data/detail/zip_index.h"
#include "minimind/base/error.h"

namespace minimind {

namespace {

namespace fs = std::filesystem;

// Above this a file is not a picture (and a size that a zip claims must not exhaust the memory).
constexpr uint64_t kMaxPictureBytes = 1U << 30U;
// Deflate does not pack tighter.
constexpr uint64_t kMaxRatio = 1032;
// Nor does it make anything much longer.
constexpr uint64_t kMaxOverhead = 1024;

// Names come from data files: they stay inside the source.
bool stays_inside(std::string_view name) {
  if (name.empty() || name.front() == '/' || name.find('\0') != std::string_view::npos) {
    return false;
  }
  while (true) {
    const size_t slash = name.find('/');
    if (name.substr(0, slash) == "..") {
      return false;
    }
    if (slash == std::string_view::npos) {
      return true;
    }
    name.remove_prefix(slash + 1);
  }
}

void require_inside(const std::string& name, const std::string& where) {
  require(stays_inside(name), where, ": expected a picture's name relative to this place, without '..', found '", name,
          "'");
}

class FolderImageSource final : public ImageSource {
 public:
  explicit FolderImageSource(const fs::path& folder) : prefix_((folder / "").string()) {}

  bool contains(const std::string& name) const override {
    struct stat status {};
    return stays_inside(name) && ::stat((prefix_ + name).c_str(), &status) == 0 && S_ISREG(status.st_mode);
  }

  std::string read(const std::string& name) const override {
    require_inside(name, prefix_);
    const std::string path = prefix_ + name;
    const detail::FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    require(file.get() >= 0, path, ": cannot be read: ", std::strerror(errno));
    struct stat status {};
    const bool regular = ::fstat(file.get(), &status) == 0 && S_ISREG(status.st_mode);
    require(regular, path, ": expected a picture file, found ",
            S_ISDIR(status.st_mode) ? "a folder" : "something else");
    require(static_cast<uint64_t>(status.st_size) <= kMaxPictureBytes, path, ": expected a picture, found a file of ",
            status.st_size, " bytes");
    std::string bytes(static_cast<size_t>(status.st_size), '\0');
    detail::read_exactly(file.get(), bytes.data(), bytes.size(), 0, path);
    return bytes;
  }

  std::string description() const override { return prefix_; }

 private:
  std::string prefix_;
};

class ZipImageSource final : public ImageSource {
 public:
  ZipImageSource(const fs::path& path, detail::FileDescriptor file)
      : path_(path.string()), file_(std::move(file)), index_(file_.get(), path_) {}

  bool contains(const std::string& name) const override { return stays_inside(name) && index_.find(name) != nullptr; }

  std::string read(const std::string& name) const override {
    require_inside(name, path_);
    const detail::ZipEntry* entry = index_.find(name);
    const std::string where = concat(path_, ": ", name);
    require(entry != nullptr, where, ": not in the zip, by its path or by a file name that occurs once");
    require((entry->flags & 1U) == 0, where, ": expected an open entry, found an encrypted one");
    require(entry->size <= kMaxPictureBytes && entry->stored_size <= index_.file_size() &&
                entry->stored_size <= 2 * entry->size + kMaxOverhead && entry->size / kMaxRatio <= entry->stored_size,
            where, ": expected the sizes of a picture, found ", entry->size, " bytes stored as ", entry->stored_size);
    std::string stored(entry->stored_size, '\0');
    detail::read_exactly(file_.get(), stored.data(), stored.size(), data_offset(*entry, where), where);
    std::string bytes = unpack(*entry, std::move(stored), where);
    const auto crc = ::crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size());
    require(crc == entry->crc, where, ": damaged in the zip: expected checksum ", entry->crc, ", found ", crc);
    return bytes;
  }

  std::string description() const override { return path_; }

 private:
  // The local header repeats the name and may have another extra field than the directory.
  uint64_t data_offset(const detail::ZipEntry& entry, const std::string& where) const {
    constexpr size_t kLocalSize = 30;
    char header[kLocalSize];
    detail::read_exactly(file_.get(), header, kLocalSize, entry.header_offset, where);
    uint16_t name_size = 0;
    uint16_t extra_size = 0;
    std::memcpy(&name_size, header + 26, sizeof(name_size));
    std::memcpy(&extra_size, header + 28, sizeof(extra_size));
    require(std::memcmp(header, "PK\3\4", 4) == 0, where, ": expected its header at offset ", entry.header_offset,
            " of the zip, found something else; is the file damaged?");
    return entry.header_offset + kLocalSize + name_size + extra_size;
  }

  static std::string unpack(const detail::ZipEntry& entry, std::string stored, const std::string& where) {
    constexpr uint16_t kStored = 0;
    constexpr uint16_t kDeflated = 8;
    if (entry.method == kStored) {
      require(entry.size == entry.stored_size, where, ": damaged in the zip: stored with two different sizes");
      return stored;
    }
    require(entry.method == kDeflated, where, ": expected a stored or deflated entry, found zip method ", entry.method,
            "; pack the zip anew");
    // One byte more tells an entry that is longer than it claims.
    std::string bytes(entry.size + 1, '\0');
    z_stream stream{};
    stream.next_in = reinterpret_cast<Bytef*>(stored.data());
    stream.avail_in = static_cast<uInt>(stored.size());
    stream.next_out = reinterpret_cast<Bytef*>(bytes.data());
    stream.avail_out = static_cast<uInt>(bytes.size());
    if (::inflateInit2(&stream, -MAX_WBITS) != Z_OK) {
      throw std::bad_alloc();
    }
    const int result = ::inflate(&stream, Z_FINISH);
    const uint64_t unpacked = stream.total_out;
    ::inflateEnd(&stream);
    require(result == Z_STREAM_END && unpacked == entry.size, where, ": damaged in the zip: expected ", entry.size,
            " unpacked bytes, found ", unpacked);
    bytes.resize(entry.size);
    return bytes;
  }

  std::string path_;
  detail::FileDescriptor file_;
  detail::ZipIndex index_;
};

}  // namespace

std::unique_ptr<ImageSource> open_image_source(const std::filesystem::path& path) {
  struct stat status {};
  const bool exists = ::stat(path.c_str(), &status) == 0;
  if (const fs::path zip = path.string() + ".zip"; !exists && errno == ENOENT && fs::is_regular_file(zip)) {
    return open_image_source(zip);
  }
  require(exists, path.string(), ": expected a folder of pictures or a zip, found ",
          errno == ENOENT ? "nothing" : std::strerror(errno));
  if (S_ISDIR(status.st_mode)) {
    return std::make_unique<FolderImageSource>(path);
  }
  require(S_ISREG(status.st_mode), path.string(), ": expected a folder of pictures or a zip, found something else");
  detail::FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  require(file.get() >= 0, path.string(), ": cannot be read: ", std::strerror(errno));
  return std::make_unique<ZipImageSource>(path, std::move(file));
}

std::optional<std::string> find_picture(const ImageSource& images, const std::string& name, const std::string& prefix) {
  if (!prefix.empty()) {
    std::string prefixed = prefix + name;
    if (images.contains(prefixed)) {
      return prefixed;
    }
  }
  return images.contains(name) ? std::optional<std::string>(name) : std::nullopt;
}

}  // namespace minimind
