#include <ATen/Tensor.h>
#include <zlib.h>

#include <string>
#include <string_view>
#include <unordered_map>

#include "base/utf8.h"
#include "io/mapped_pages.h"
#include "io/pickle.h"
#include "io/pth.h"
#include "io/zip_reader.h"
#include "minimind/base/error.h"

namespace minimind {

namespace {

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

}  // namespace minimind
