#include <ATen/Tensor.h>

#include <string>
#include <unordered_map>

#include "base/utf8.h"
#include "io/crc32.h"
#include "io/formats.h"
#include "io/pickle_reader.h"
#include "io/zip_reader.h"
#include "minimind/base/error.h"

namespace minimind::detail {

namespace {

constexpr std::string_view kPickleName = "/data.pkl";

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
          ": expected an archive written by torch.save (with a record …/data.pkl), found another zip archive");
  return folder;
}

class PthReader {
 public:
  explicit PthReader(const MappedFile& file)
      : file_(file), where_(file.path().string()), zip_(file), folder_(top_folder(zip_, where_)) {
    const ZipRecord* order = zip_.find(folder_ + "/byteorder");
    require(order == nullptr || order->bytes == "little", where_,
            ": expected little-endian weights, found another byte order; save the file again on the usual kind of "
            "machine");
    // torch.serialization.set_crc32_options(False) leaves wrong checksums everywhere: then there is none to compare.
    const ZipRecord* version = zip_.find(folder_ + "/version");
    has_checksums_ = version == nullptr || crc32(version->bytes) == version->crc;
  }

  StateDict read() {
    const ZipRecord& pickle = *zip_.find(folder_ + std::string(kPickleName));
    check(pickle, "data.pkl");
    StateDict state;
    for (const auto& [key, tensor] : read_pickled_state(pickle.bytes, where_)) {
      state.add(key, view(key, tensor));
    }
    return state;
  }

 private:
  void check(const ZipRecord& record, const std::string& name) const {
    require(!has_checksums_ || crc32(record.bytes) == record.crc, where_, ": record ", name,
            ": the checksum does not fit: the file is damaged; copy or download it again");
  }

  at::Tensor storage(const std::string& key, const PickledTensor& tensor) {
    const auto [found, is_new] = storages_.try_emplace(tensor.storage);
    at::Tensor& storage = found->second;
    if (is_new) {
      const ZipRecord* record = zip_.find(folder_ + "/data/" + tensor.storage);
      require(record != nullptr, where_, ": key \"", printable(key), "\": expected its bytes in record data/",
              printable(tensor.storage), ", found none; the file is damaged");
      check(*record, "data/" + printable(tensor.storage));
      const int64_t width = static_cast<int64_t>(c10::elementSize(tensor.dtype));
      const int64_t bytes = static_cast<int64_t>(record->bytes.size());
      require(bytes % width == 0 && tensor.storage_numel == bytes / width, where_, ": key \"", printable(key),
              "\": expected ", tensor.storage_numel, " elements of ", width, " bytes in record data/",
              printable(tensor.storage), ", found ", bytes, " bytes; the file is damaged");
      storage = mapped_tensor(file_, record->bytes, tensor.dtype);
    }
    require(storage.scalar_type() == tensor.dtype && storage.numel() == tensor.storage_numel, where_, ": key \"",
            printable(key), "\": record data/", printable(tensor.storage),
            " is used with two dtypes or sizes; the file is damaged");
    return storage;
  }

  at::Tensor view(const std::string& key, const PickledTensor& tensor) {
    const int64_t numel = checked_numel(tensor.sizes, where_ + ": key \"" + printable(key) + "\"");
    require(numel <= tensor.storage_numel, where_, ": key \"", printable(key), "\": expected at most the ",
            tensor.storage_numel, " elements of its storage, found a tensor ", shape_text(tensor.sizes),
            " that repeats them; save tensor.contiguous() in its place");
    // Elements in front of the last one; __int128 because offset and strides are the file's.
    __int128 last = tensor.offset;
    for (size_t i = 0; i < tensor.sizes.size(); ++i) {
      last += static_cast<__int128>(tensor.sizes[i] - 1) * tensor.strides[i];
    }
    require(numel == 0 || last < tensor.storage_numel, where_, ": key \"", printable(key), "\": expected a tensor ",
            shape_text(tensor.sizes), " inside its storage of ", tensor.storage_numel,
            " elements, found one that passes its end; the file is damaged");
    const at::Tensor base = storage(key, tensor);
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

StateDict read_pth(const MappedFile& file) {
  return PthReader(file).read();
}

}  // namespace minimind::detail
