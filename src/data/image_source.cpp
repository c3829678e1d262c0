#include "minimind/data/image_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include "data/file_descriptor.h"
#include "data/zip_index.h"
#include "minimind/base/error.h"

namespace minimind {

namespace {

namespace fs = std::filesystem;

// Above this a file is not an image (and a size that a zip claims must not exhaust the memory).
constexpr uint64_t kMaxImageBytes = 1U << 30U;
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

std::string objection_to_place(const std::string& name, const std::string& where) {
  return stays_inside(name) ? ""
                            : concat("refused: expected an image's name relative to ", where,
                                     ", without '..'; --images_dir may name a folder above it");
}

void require_inside(const std::string& name, const std::string& where) {
  require(stays_inside(name), where, ": expected an image's name relative to this place, without '..', found '", name,
          "'");
}

class FolderImageSource final : public ImageSource {
 public:
  explicit FolderImageSource(const fs::path& folder) : prefix_((folder / "").string()) {}

  bool contains(const std::string& name) const override {
    struct stat status {};
    return stays_inside(name) && ::stat((prefix_ + name).c_str(), &status) == 0 && S_ISREG(status.st_mode);
  }

  std::string objection(const std::string& name) const override { return objection_to_place(name, prefix_); }

  std::string read(const std::string& name) const override {
    require_inside(name, prefix_);
    const std::string path = prefix_ + name;
    const detail::FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    require(file.get() >= 0, path, ": cannot be read: ", std::strerror(errno));
    struct stat status {};
    const bool regular = ::fstat(file.get(), &status) == 0 && S_ISREG(status.st_mode);
    require(regular, path, ": expected an image file, found ", S_ISDIR(status.st_mode) ? "a folder" : "something else");
    require(static_cast<uint64_t>(status.st_size) <= kMaxImageBytes, path, ": expected an image, found a file of ",
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
  /// `folder`: of the zip; "" for all of it.
  ZipImageSource(const fs::path& path, detail::FileDescriptor file, const std::string& folder)
      : path_(path.string()), file_(std::move(file)), index_(file_.get(), path_) {
    require(folder.empty() || index_.has_folder(folder), path_, ": expected a folder ", folder,
            " in the zip, found none; ", path_, " alone stands for the whole zip");
    folder_ = folder.empty() ? "" : folder + "/";
  }

  bool contains(const std::string& name) const override { return stays_inside(name) && find(name) != nullptr; }

  std::string objection(const std::string& name) const override {
    const auto several = folder_.empty() ? index_.paths_ending(name) : std::nullopt;
    if (!several || index_.find_path(name) != nullptr) {
      return objection_to_place(name, path_);
    }
    return concat("ambiguous in ", path_, ": ", several->first, " and ", several->second,
                  " end so; name the folder too, or give one as --images_dir ", path_, "/FOLDER");
  }

  std::string read(const std::string& name) const override {
    require_inside(name, path_);
    const detail::ZipEntry* entry = find(name);
    const std::string where = concat(path_, ": ", name);
    require(entry != nullptr, where, ": not in the zip, by its path or by an end of it that occurs once");
    require((entry->flags & 1U) == 0, where, ": expected an open entry, found an encrypted one");
    require(entry->size <= kMaxImageBytes && entry->stored_size <= index_.file_size() &&
                entry->stored_size <= 2 * entry->size + kMaxOverhead && entry->size / kMaxRatio <= entry->stored_size,
            where, ": expected the sizes of an image, found ", entry->size, " bytes stored as ", entry->stored_size);
    std::string stored(entry->stored_size, '\0');
    detail::read_exactly(file_.get(), stored.data(), stored.size(), data_offset(*entry, where), where);
    std::string bytes = unpack(*entry, std::move(stored), where);
    const auto crc = ::crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size());
    require(crc == entry->crc, where, ": damaged in the zip: expected checksum ", entry->crc, ", found ", crc);
    return bytes;
  }

  std::string description() const override { return folder_.empty() ? path_ : concat(path_, '/', folder_); }

 private:
  const detail::ZipEntry* find(const std::string& name) const {
    const detail::ZipEntry* entry = index_.find_path(folder_ + name);
    return entry != nullptr || !folder_.empty() ? entry : index_.find_ending(name);
  }

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
  std::string folder_;  // with a slash at its end; "": the whole zip
};

std::unique_ptr<ImageSource> open_zip(const fs::path& path, const std::string& folder) {
  detail::FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  require(file.get() >= 0, path.string(), ": cannot be read: ", std::strerror(errno));
  return std::make_unique<ZipImageSource>(path, std::move(file), folder);
}

// `x.zip/images/part`: the file above, and what comes after it; an empty path where there is no file above.
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

}  // namespace

std::string ImageSource::objection(const std::string& /*name*/) const {
  return {};
}

std::unique_ptr<ImageSource> open_image_source(const std::filesystem::path& path) {
  struct stat status {};
  const bool exists = ::stat(path.c_str(), &status) == 0;
  if (!exists && errno == ENOTDIR) {
    if (const auto [zip, folder] = split_at_zip(path); !folder.empty()) {
      return open_zip(zip, folder);
    }
  }
  if (const fs::path zip = path.string() + ".zip"; !exists && errno == ENOENT && fs::is_regular_file(zip)) {
    return open_image_source(zip);
  }
  require(exists, path.string(), ": expected a folder of images or a zip, found ",
          errno == ENOENT ? "nothing" : std::strerror(errno), "; --images_dir names another place");
  if (S_ISDIR(status.st_mode)) {
    return std::make_unique<FolderImageSource>(path);
  }
  require(S_ISREG(status.st_mode), path.string(), ": expected a folder of images or a zip, found something else");
  return open_zip(path, "");
}

std::string find_image(const ImageSource& images, const std::string& name, const std::string& prefix) {
  for (const std::string& candidate : {prefix + name, name}) {
    if (images.contains(candidate)) {
      return candidate;
    }
  }
  for (const std::string& candidate : {prefix + name, name}) {
    const std::string objection = images.objection(candidate);
    require(objection.empty(), "image ", candidate, " ", objection);
  }
  fail("image ", prefix, name, " not found in ", images.description());
}

}  // namespace minimind
