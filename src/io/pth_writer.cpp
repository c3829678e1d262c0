#include <ATen/Tensor.h>

#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "io/formats.h"
#include "io/zip_writer.h"
#include "minimind/base/error.h"
#include "minimind/io/state_dict.h"

namespace minimind {

namespace {

const char* storage_class(at::ScalarType dtype) {
  switch (dtype) {
    case at::kFloat:
      return "FloatStorage";
    case at::kHalf:
      return "HalfStorage";
    case at::kBFloat16:
      return "BFloat16Storage";
    case at::kDouble:
      return "DoubleStorage";
    case at::kLong:
      return "LongStorage";
    case at::kInt:
      return "IntStorage";
    case at::kShort:
      return "ShortStorage";
    case at::kChar:
      return "CharStorage";
    case at::kByte:
      return "ByteStorage";
    case at::kBool:
      return "BoolStorage";
    case at::kComplexFloat:
      return "ComplexFloatStorage";
    case at::kComplexDouble:
      return "ComplexDoubleStorage";
    default:
      throw std::logic_error(concat("write_pth: a dtype that .pth files of ours never hold: ", c10::toString(dtype)));
  }
}

/// The few pickle instructions (protocol 2) that describe a state dict.
class PickleText {
 public:
  PickleText& op(std::string_view bytes) {
    text_ += bytes;
    return *this;
  }
  PickleText& global(std::string_view module, std::string_view name) {
    text_ += concat('c', module, '\n', name, '\n');
    return *this;
  }
  PickleText& text(std::string_view value) {
    text_ += 'X';
    little_endian(value.size(), 4);
    text_ += value;
    return *this;
  }
  PickleText& integer(int64_t value) {
    if (value >= 0 && value <= 0x7FFFFFFF) {
      text_ += 'J';
      little_endian(static_cast<uint64_t>(value), 4);
    } else {
      text_ += "\x8a\x08";
      little_endian(static_cast<uint64_t>(value), 8);
    }
    return *this;
  }
  PickleText& integers(at::IntArrayRef values) {
    text_ += '(';
    for (const int64_t value : values) {
      integer(value);
    }
    text_ += 't';
    return *this;
  }
  const std::string& str() const { return text_; }

 private:
  void little_endian(uint64_t value, int width) {
    for (int i = 0; i < width; ++i) {
      text_.push_back(static_cast<char>((value >> (8 * i)) & 0xFF));
    }
  }

  std::string text_;
};

/// Numbers the storages of a state dict in the order of their first use.
class StorageList {
 public:
  /// The index of the tensor's storage.
  size_t index_of(const at::Tensor& tensor) {
    const c10::StorageImpl* key = tensor.storage().unsafeGetStorageImpl();
    const auto [found, is_new] = indices_.try_emplace(key, storages_.size());
    if (is_new) {
      // The whole storage as a flat tensor: views of it stay views.
      const int64_t numel = static_cast<int64_t>(tensor.storage().nbytes() / tensor.element_size());
      storages_.push_back(tensor.as_strided({numel}, {1}, 0));
    } else if (storages_[found->second].scalar_type() != tensor.scalar_type()) {
      throw std::logic_error("write_pth: two tensors of different dtypes share one storage");
    }
    return found->second;
  }
  const std::vector<at::Tensor>& storages() const { return storages_; }

 private:
  std::map<const c10::StorageImpl*, size_t> indices_;
  std::vector<at::Tensor> storages_;
};

std::string pickle_state(const StateDict& state, StorageList& storages) {
  PickleText pickle;
  pickle.op("\x80\x02").global("collections", "OrderedDict").op(")R(");
  for (const auto& [key, value] : state.entries()) {
    const at::Tensor tensor = value.detach();
    const size_t index = storages.index_of(tensor);
    pickle.text(key).global("torch._utils", "_rebuild_tensor_v2").op("((");
    pickle.text("storage").global("torch", storage_class(tensor.scalar_type())).text(std::to_string(index)).text("cpu");
    pickle.integer(storages.storages()[index].numel()).op("tQ");
    pickle.integer(tensor.storage_offset()).integers(tensor.sizes()).integers(tensor.strides());
    pickle.op("\x89").global("collections", "OrderedDict").op(")RtR");
  }
  pickle.op("u.");
  return pickle.str();
}

}  // namespace

void write_pth(const std::filesystem::path& path, const StateDict& state) {
  StorageList storages;
  const std::string pickle = pickle_state(state, storages);
  AtomicFile file(path);
  detail::ZipWriter zip(file);
  zip.add("archive/data.pkl", pickle);
  zip.add("archive/byteorder", "little");
  for (size_t i = 0; i < storages.storages().size(); ++i) {
    zip.add("archive/data/" + std::to_string(i), detail::tensor_bytes(storages.storages()[i].cpu()));
  }
  zip.add("archive/version", "3\n");
  zip.finish();
  file.commit();
}

}  // namespace minimind
