#include <ATen/Tensor.h>
#include <zlib.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/utf8.h"
#include "base/zip_directory.h"
#include "io/mapped_pages.h"
#include "io/pickle.h"
#include "io/pth.h"
#include "minimind/base/error.h"

namespace minimind {

namespace {

/// One file of a zip archive; `bytes` points into the mapping.
struct ZipRecord {
  std::string_view bytes;
  uint32_t crc = 0;
  bool is_stored = true;  ///< false: compressed or encrypted
};

/// The records of a mapped zip archive. Throws Error if the archive is truncated or damaged, or if two records overlap:
/// a small file could then ask for any amount of reading.
class ZipReader {
 public:
  explicit ZipReader(const MappedFile& file);
  /// Null if there is no record of this name. Throws Error if its bytes are not stored as they are.
  const ZipRecord* find(const std::string& name) const;
  const std::unordered_map<std::string, ZipRecord>& records() const { return records_; }

 private:
  void require_disjoint() const;

  std::string where_;
  std::unordered_map<std::string, ZipRecord> records_;
};

ZipReader::ZipReader(const MappedFile& file) : where_(file.path().string()) {
  const auto slice = [&](uint64_t offset, uint64_t size) {
    const std::string_view all = file.bytes();
    require(offset <= all.size() && size <= all.size() - offset, where_, ": damaged zip archive: expected ", size,
            " bytes at byte ", offset, ", found the end of the file at byte ", all.size(),
            "; the file is truncated or damaged, copy or download it again");
    return all.substr(offset, size);
  };
  const ReadAt read = [&slice](uint64_t offset, char* out, size_t size) { slice(offset, size).copy(out, size); };
  read_zip_directory(read, file.bytes().size(), where_, [&](ZipEntry&& entry) {
    const std::string where = concat(where_, ": damaged zip archive: record ", printable(entry.name));
    const bool is_stored = (entry.flags & 1U) == 0 && entry.method == 0;
    require(!is_stored || entry.size == entry.compressed_size, where, ": expected ", entry.size,
            " stored bytes, found ", entry.compressed_size, "; copy or download the file again");
    const ZipRecord record{slice(zip_data_offset(read, entry, where), entry.compressed_size), entry.crc, is_stored};
    const bool is_new = records_.emplace(std::move(entry.name), record).second;
    require(is_new, where, " is there twice; copy or download the file again");
  });
  require_disjoint();
}

const ZipRecord* ZipReader::find(const std::string& name) const {
  const auto found = records_.find(name);
  if (found == records_.end()) {
    return nullptr;
  }
  if (!found->second.is_stored) {
    fail(where_, ": record ", printable(name),
         ": expected stored bytes as torch.save writes them, found a compressed or encrypted record; save the weights "
         "again with torch.save");
  }
  return &found->second;
}

void ZipReader::require_disjoint() const {
  std::vector<std::pair<std::string_view, std::string_view>> spans;  // bytes and name
  for (const auto& [name, record] : records_) {
    spans.emplace_back(record.bytes, name);
  }
  std::ranges::sort(spans, {}, [](const auto& span) { return std::pair(span.first.data(), span.first.size()); });
  for (size_t i = 1; i < spans.size(); ++i) {
    const auto& [before, name_before] = spans[i - 1];
    if (spans[i].first.data() < before.data() + before.size()) {
      fail(where_, ": damaged zip archive: records ", printable(name_before), " and ", printable(spans[i].second),
           " overlap; copy or download the file again");
    }
  }
}

constexpr std::string_view kPickleName = "/data.pkl";

bool fits_checksum(const ZipRecord& record) {
  return ::crc32_z(0, reinterpret_cast<const Bytef*>(record.bytes.data()), record.bytes.size()) == record.crc;
}

/// The archive's top folder: `archive`, or the name under which torch.save wrote the file.
std::string top_folder(const ZipReader& zip, const std::string& where) {
  std::string folder;
  for (const auto& [name, record] : zip.records()) {
    const bool is_script = name.ends_with("/constants.pkl") || name.find("/code/") != std::string::npos;
    require(!is_script, where,
            ": expected a state dict, found a TorchScript program; save the weights alone: "
            "torch.save(model.state_dict(), path)");
    if (name.ends_with(kPickleName) && name.find('/') == name.size() - kPickleName.size()) {
      folder = name.substr(0, name.size() - kPickleName.size());
    }
  }
  require(!folder.empty(), where,
          ": expected an archive written by torch.save (with a record …/data.pkl), found a zip archive without "
          "it");
  return folder;
}

class PthReader {
 public:
  explicit PthReader(const MappedFile& file)
      : file_(file), where_(file.path().string()), zip_(file), folder_(top_folder(zip_, where_)) {
    if (const ZipRecord* order = zip_.find(folder_ + "/byteorder")) {
      require(order->bytes == "little", where_, ": expected little-endian weights, found byte order \"",
              printable(order->bytes.substr(0, 16)), "\"; save the file again on the usual kind of machine");
    }
    // torch.serialization.set_crc32_options(False) leaves wrong checksums everywhere: then there is none to compare.
    const ZipRecord* version = zip_.find(folder_ + "/version");
    has_checksums_ = version == nullptr || fits_checksum(*version);
  }

  std::string config() const {
    const ZipRecord* record = zip_.find(folder_ + "/" + kPthConfigRecord);
    if (record == nullptr) {
      return "";
    }
    check(*record, kPthConfigRecord);
    return std::string(record->bytes);
  }

  StateDict read() {
    const ZipRecord& pickle = *zip_.find(folder_ + std::string(kPickleName));
    check(pickle, "data.pkl");
    StateDict state;
    for (const auto& [key, tensor] : read_pickled_state(pickle.bytes, where_)) {
      state.add(key, view(tensor, concat(where_, ": key \"", printable(key), '"')));
    }
    return state;
  }

 private:
  void check(const ZipRecord& record, const std::string& name) const {
    require(!has_checksums_ || fits_checksum(record), where_, ": record ", name,
            ": the checksum does not fit: the file is damaged; copy or download it again");
  }

  /// The storage of a tensor as a flat tensor; `where` names the key.
  at::Tensor storage(const PickledTensor& tensor, const std::string& where) {
    const auto [found, is_new] = storages_.try_emplace(tensor.storage);
    at::Tensor& storage = found->second;
    const std::string name = "data/" + printable(tensor.storage);
    if (is_new) {
      const ZipRecord* record = zip_.find(folder_ + "/data/" + tensor.storage);
      require(record != nullptr, where, ": expected its bytes in record ", name, ", found none; the file is damaged");
      check(*record, name);
      const size_t width = c10::elementSize(tensor.dtype), bytes = record->bytes.size();
      require(bytes % width == 0 && static_cast<uint64_t>(tensor.storage_numel) == bytes / width, where, ": expected ",
              tensor.storage_numel, " elements of ", width, " bytes in record ", name, ", found ", bytes,
              " bytes; the file is damaged");
      storage = mapped_tensor(file_, record->bytes, tensor.dtype);
    }
    require(storage.scalar_type() == tensor.dtype && storage.numel() == tensor.storage_numel, where, ": record ", name,
            ": expected one dtype and size, found two uses that differ; the file is damaged");
    return storage;
  }

  at::Tensor view(const PickledTensor& tensor, const std::string& where) {
    const int64_t numel = checked_numel(tensor.sizes, where);
    require(numel <= tensor.storage_numel, where, ": expected at most the ", tensor.storage_numel,
            " elements of its storage, found a tensor ", at::IntArrayRef(tensor.sizes),
            " that repeats them; save tensor.contiguous() in its place");
    // Elements in front of the last one; __int128 because offset and strides are the file's.
    __int128 last = tensor.offset;
    for (size_t i = 0; i < tensor.sizes.size(); ++i) {
      last += static_cast<__int128>(tensor.sizes[i] - 1) * tensor.strides[i];
    }
    require(numel == 0 || last < tensor.storage_numel, where, ": expected a tensor ", at::IntArrayRef(tensor.sizes),
            " inside its storage of ", tensor.storage_numel,
            " elements, found one that passes its end; the file is damaged");
    const at::Tensor base = storage(tensor, where);
    if (numel == 0) {
      return base.slice(0, 0, 0).reshape(tensor.sizes);
    }
    return base.as_strided(tensor.sizes, tensor.strides, tensor.offset);
  }

  const MappedFile& file_;
  std::string where_;
  ZipReader zip_;
  std::string folder_;
  bool has_checksums_ = true;
  std::unordered_map<std::string, at::Tensor> storages_;
};

}  // namespace

bool is_zip(const MappedFile& file) {
  return file.bytes().starts_with("PK\x03\x04");
}

StateDict read_pth(const MappedFile& file) {
  return PthReader(file).read();
}

std::string read_pth_config(const MappedFile& file) {
  return PthReader(file).config();
}

}  // namespace minimind
