#include <ATen/Tensor.h>
#include <c10/util/Exception.h>
#include <caffe2/serialize/inline_container.h>

#include <exception>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "io/dtype_names.h"
#include "io/mapped_pages.h"
#include "io/pth.h"
#include "minimind/base/error.h"

namespace minimind {

namespace {

// The few pickle instructions (protocol 2) that describe a state dict.

std::string pickled_global(std::string_view module, std::string_view name) {
  return concat('c', module, '\n', name, '\n');
}

std::string pickled_text(std::string_view text) {
  std::string pickle = "X";
  append_little_endian(pickle, static_cast<uint32_t>(text.size()));
  return pickle.append(text);
}

std::string pickled_integer(int64_t value) {
  const bool is_short = value >= 0 && value <= INT32_MAX;
  std::string pickle = is_short ? "J" : "\x8a\x08";
  append_little_endian(pickle, value);
  return is_short ? pickle.substr(0, 5) : pickle;
}

std::string pickled_tuple(at::IntArrayRef values) {
  std::string pickle = "(";
  for (const int64_t value : values) {
    pickle += pickled_integer(value);
  }
  return pickle + "t";
}

/// Numbers the storages of a state dict in the order of their first use.
class StorageList {
 public:
  /// The index of the tensor's storage.
  size_t index_of(const at::Tensor& tensor) {
    const c10::StorageImpl* key = tensor.storage().unsafeGetStorageImpl();
    const auto [found, is_new] = indices_.try_emplace(key, storages_.size());
    if (is_new) {
      // The whole storage as a flat tensor: views of it stay views.
      const auto numel = static_cast<int64_t>(tensor.storage().nbytes() / static_cast<size_t>(tensor.element_size()));
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

std::string_view storage_class(at::ScalarType dtype) {
  const std::string_view name = names_of(dtype).storage;
  if (name.empty()) {
    throw std::logic_error(concat("write_pth: a .pth file cannot hold the dtype ", c10::toString(dtype)));
  }
  return name;
}

std::string pickle_state(const StateDict& state, StorageList& storages) {
  const std::string ordered_dict = pickled_global("collections", "OrderedDict") + ")R";
  std::string pickle = "\x80\x02" + ordered_dict + "(";
  for (const auto& [key, value] : state.entries()) {
    const at::Tensor tensor = value.detach();
    const size_t index = storages.index_of(tensor);
    pickle += pickled_text(key) + pickled_global("torch._utils", "_rebuild_tensor_v2") + "((";
    pickle += pickled_text("storage") + pickled_global("torch", storage_class(tensor.scalar_type()));
    pickle += pickled_text(std::to_string(index)) + pickled_text("cpu");
    pickle += pickled_integer(storages.storages()[index].numel()) + "tQ" + pickled_integer(tensor.storage_offset());
    pickle += pickled_tuple(tensor.sizes()) + pickled_tuple(tensor.strides()) + "\x89" + ordered_dict + "tR";
  }
  return pickle + "u.";
}

/// Writes the records of a `.pth` into an AtomicFile; LibTorch's writer lays out the zip archive.
class RecordWriter {
 public:
  explicit RecordWriter(const std::filesystem::path& path)
      : file_(path), archive_([this](const void* data, size_t size) { return write(data, size); }) {}

  void add(const std::string& name, std::string_view bytes) {
    archive_.writeRecord(name, bytes.data(), bytes.size());
    rethrow();
  }
  void commit() {
    archive_.writeEndOfFile();
    rethrow();
    file_.commit();
  }

 private:
  /// Keeps the first error for rethrow(): no exception may cross the zip library, which would also report another one.
  size_t write(const void* data, size_t size) {
    try {
      if (!error_) {
        file_.write(data, size);
      }
    } catch (const Error&) {
      error_ = std::current_exception();
    }
    return size;
  }
  void rethrow() const {
    if (error_) {
      std::rethrow_exception(error_);
    }
  }

  AtomicFile file_;
  std::exception_ptr error_;
  caffe2::serialize::PyTorchStreamWriter archive_;
};

}  // namespace

void write_pth(const std::filesystem::path& path, const StateDict& state, const std::string& config) {
  StorageList storages;
  const std::string pickle = pickle_state(state, storages);
  try {
    RecordWriter writer(path);
    writer.add("data.pkl", pickle);
    writer.add("byteorder", "little");
    if (!config.empty()) {
      writer.add(kPthConfigRecord, config);
    }
    for (size_t i = 0; i < storages.storages().size(); ++i) {
      writer.add("data/" + std::to_string(i), tensor_bytes(storages.storages()[i].cpu()));
    }
    writer.commit();
  } catch (const c10::Error& error) {
    fail(path.string(), ": cannot be written: ", error.what_without_backtrace());
  }
}

}  // namespace minimind
