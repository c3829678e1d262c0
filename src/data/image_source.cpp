#include "minimind/data/image_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <zlib.h>

#include <cerrno>
#include <cstring>
#include <new>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "base/file_descriptor.h"
#include "base/file_format.h"
#include "base/zip_directory.h"
#include "data/zip_index.h"
#include "minimind/base/error.h"

namespace minimind {

namespace {

namespace fs = std::filesystem;

// A larger file is not an image. An archive may claim any size, which must not exhaust the memory.
constexpr uint64_t kMaxImageBytes = 1U << 30U;
// Deflate packs at most this tight, and makes data at most this much longer.
constexpr uint64_t kMaxRatio = 1032;
constexpr uint64_t kMaxOverhead = 1024;

// Names come from data files. They must stay inside the source.
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

std::string why_outside(const std::string& name, const std::string& where) {
  return stays_inside(name) ? ""
                            : concat("refused: expected an image's name relative to ", where,
                                     ", without '..'; --images_dir may name a folder above it");
}

void require_inside(const std::string& name, const std::string& where) {
  require(stays_inside(name), where,
          ": expected an image's name relative to this place, without '..', "
          "found '",
          name, "'");
}

struct stat status_of(const FileDescriptor& file, const std::string& where) {
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) {
    fail(where, ": cannot be read: ", std::strerror(errno));
  }
  return status;
}

class FolderImageSource final : public ImageSource {
 public:
  explicit FolderImageSource(const fs::path& folder) : prefix_((folder / "").string()) {
    std::error_code failure;
    for (const fs::path& path : {fs::absolute(folder, failure), fs::canonical(folder, failure)}) {
      absolute_.push_back((path.lexically_normal() / "").string());
    }
  }

  bool contains(const std::string& name) const override {
    struct stat status {};
    return stays_inside(name) && ::stat((prefix_ + name).c_str(), &status) == 0 && S_ISREG(status.st_mode);
  }

  std::string why_rejected(const std::string& name) const override { return why_outside(name, prefix_); }

  std::string relative_name(const std::string& name) const override {
    const std::string path = name.starts_with('/') ? fs::path(name).lexically_normal().string() : "";
    for (const std::string& folder : absolute_) {
      if (path.starts_with(folder)) {
        return path.substr(folder.size());
      }
    }
    return name;
  }

  std::string read(const std::string& name) const override {
    require_inside(name, prefix_);
    const std::string path = prefix_ + name;
    const FileDescriptor file = open_file(path, O_RDONLY);
    const struct stat status = status_of(file, path);
    require(static_cast<uint64_t>(status.st_size) <= kMaxImageBytes, path, ": expected an image, found a file of ",
            status.st_size, " bytes");
    std::string bytes(static_cast<size_t>(status.st_size), '\0');
    read_exactly(file.get(), bytes.data(), bytes.size(), 0, path);
    return bytes;
  }

  std::string description() const override { return prefix_; }

 private:
  std::string prefix_;
  std::vector<std::string> absolute_;  // the folder's path as given and without links, with a slash at the end
};

std::string inflate_entry(const ZipEntry& entry, std::string& packed, const std::string& where) {
  // The buffer has one byte more than the entry claims, to notice an entry that is longer.
  std::string bytes(entry.size + 1, '\0');
  z_stream stream{};
  stream.next_in = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_in = static_cast<uInt>(packed.size());
  stream.next_out = reinterpret_cast<Bytef*>(bytes.data());
  stream.avail_out = static_cast<uInt>(bytes.size());
  if (::inflateInit2(&stream, -MAX_WBITS) != Z_OK) {
    throw std::bad_alloc();
  }
  const int result = ::inflate(&stream, Z_FINISH);
  const uint64_t unpacked = stream.total_out;
  ::inflateEnd(&stream);
  require(result == Z_STREAM_END && unpacked == entry.size, where, ": damaged in the zip archive: expected ",
          entry.size, " unpacked bytes, found ", unpacked);
  bytes.resize(entry.size);
  return bytes;
}

class ZipImageSource final : public ImageSource {
 public:
  /// `folder`: a folder of the archive; empty: the whole archive.
  ZipImageSource(const fs::path& path, const std::string& folder)
      : path_(path.string()),
        file_(open_file(path, O_RDONLY)),
        file_bytes_(static_cast<uint64_t>(status_of(file_, path_).st_size)),
        index_(reader(path_), file_bytes_, path_),
        folder_(folder.empty() ? "" : folder + "/") {
    require(folder.empty() || index_.has_folder(folder), path_, ": expected a folder ", folder,
            " in the zip archive, found no such folder; ", path_, " alone stands for the whole archive");
  }

  bool contains(const std::string& name) const override { return stays_inside(name) && find(name) != nullptr; }

  std::string why_rejected(const std::string& name) const override {
    const auto paths = folder_.empty() ? index_.ambiguous_paths(name) : std::nullopt;
    if (!paths || index_.find_path(name) != nullptr) {
      return why_outside(name, path_);
    }
    return concat("ambiguous in ", path_, ": ", paths->first, " and ", paths->second,
                  " end so; name the folder too, or give one as --images_dir ", path_, "/FOLDER");
  }

  std::string read(const std::string& name) const override {
    require_inside(name, path_);
    const ZipEntry* entry = find(name);
    const std::string where = concat(path_, ": ", name);
    require(entry != nullptr, where,
            ": not in the zip archive, by its path or by an end of it that "
            "occurs once");
    check_entry(*entry, where);
    std::string bytes(entry->compressed_size, '\0');
    const ReadAt read_at = reader(where);
    read_at(zip_data_offset(read_at, *entry, where), bytes.data(), bytes.size());
    if (entry->method == kDeflated) {
      bytes = inflate_entry(*entry, bytes, where);
    }
    const auto crc = ::crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size());
    require(crc == entry->crc, where, ": damaged in the zip archive: expected checksum ", entry->crc, ", found ", crc);
    return bytes;
  }

  std::string description() const override { return folder_.empty() ? path_ : concat(path_, '/', folder_); }

 private:
  static constexpr uint16_t kStored = 0;
  static constexpr uint16_t kDeflated = 8;

  ReadAt reader(const std::string& where) const {
    return [this, where](uint64_t offset, char* out, size_t bytes) {
      read_exactly(file_.get(), out, bytes, offset, where);
    };
  }

  const ZipEntry* find(const std::string& name) const {
    const ZipEntry* entry = index_.find_path(folder_ + name);
    return entry != nullptr || !folder_.empty() ? entry : index_.find_ending(name);
  }

  void check_entry(const ZipEntry& entry, const std::string& where) const {
    require((entry.flags & 1U) == 0, where, ": expected an open entry, found an encrypted one");
    require(entry.method == kStored || entry.method == kDeflated, where,
            ": expected a stored or deflated entry, found zip method ", entry.method, "; pack the archive again");
    require(entry.size <= kMaxImageBytes && entry.compressed_size <= file_bytes_ &&
                entry.compressed_size <= 2 * entry.size + kMaxOverhead &&
                entry.size / kMaxRatio <= entry.compressed_size,
            where, ": expected the sizes of an image, found ", entry.size, " bytes stored as ", entry.compressed_size);
    require(entry.method == kDeflated || entry.size == entry.compressed_size, where,
            ": damaged in the zip archive: expected one size of a stored "
            "entry, found ",
            entry.size, " and ", entry.compressed_size);
  }

  std::string path_;
  FileDescriptor file_;
  uint64_t file_bytes_;
  detail::ZipIndex index_;
  std::string folder_;  // with a slash at its end; empty: the whole archive
};

// Splits `x.zip/images/part` into the file above and the rest; an empty path if there is no file above.
std::pair<fs::path, std::string> split_at_zip(fs::path path) {
  std::error_code failure;
  fs::path folder;
  while (path.has_relative_path()) {
    if (path.has_filename()) {
      folder = folder.empty() ? path.filename() : path.filename() / folder;
    }
    path = path.parent_path();
    if (fs::is_regular_file(path, failure)) {
      return {path, folder.string()};
    }
  }
  return {};
}

// Throws Error if the file is an archive of another kind, an image, a failed download.
void require_no_other_format(const fs::path& path) {
  const FileDescriptor file = open_file(path, O_RDONLY);
  char head[512];
  const std::optional<FileFormat> format = recognise_format({head, read_up_to(file.get(), head, sizeof(head), 0)});
  require(!format || format->name.find("zip archive") != std::string_view::npos || format->name == "a program",
          path.string(), ": expected a folder of images or a zip archive, found ", format ? format->name : "", "; ",
          format ? format->cure : "");
}

}  // namespace

std::string ImageSource::why_rejected(const std::string& /*name*/) const {
  return {};
}

std::unique_ptr<ImageSource> open_image_source(const std::filesystem::path& path) {
  struct stat status {};
  const bool exists = ::stat(path.c_str(), &status) == 0;
  const int reason = errno;
  if (!exists && reason == ENOTDIR) {
    if (const auto [zip, folder] = split_at_zip(path); !folder.empty()) {
      return std::make_unique<ZipImageSource>(zip, folder);
    }
  }
  if (const fs::path zip = path.string() + ".zip"; !exists && reason == ENOENT && fs::is_regular_file(zip)) {
    return open_image_source(zip);
  }
  require(exists, path.string(), ": expected a folder of images or a zip archive, found ",
          reason == ENOENT ? "nothing" : std::strerror(reason), "; --images_dir names another place");
  if (S_ISDIR(status.st_mode)) {
    return std::make_unique<FolderImageSource>(path);
  }
  require(S_ISREG(status.st_mode), path.string(),
          ": expected a folder of images or a zip archive, found a pipe or a "
          "device");
  require_no_other_format(path);
  return std::make_unique<ZipImageSource>(path, "");
}

}  // namespace minimind
