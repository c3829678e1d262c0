#include "io/mapped_pages.h"

#include <ATen/Tensor.h>
#include <ATen/ops/empty.h>

#include <cstring>
#include <limits>
#include <map>
#include <utility>

#include "minimind/base/error.h"

namespace minimind {

namespace {

/// The deleter of mapped storages; its address identifies them.
void drop_mapping(void* file) {
  delete static_cast<MappedFile*>(file);
}

/// The file behind a tensor of mapped_tensor(); null if the tensor has memory of its own.
const MappedFile* mapping_of(const at::Tensor& tensor) {
  const c10::DataPtr& data = tensor.storage().data_ptr();
  return data.get_deleter() == &drop_mapping ? static_cast<const MappedFile*>(data.get_context()) : nullptr;
}

}  // namespace

at::Tensor mapped_tensor(const MappedFile& file, std::string_view bytes, at::ScalarType dtype) {
  const size_t width = c10::elementSize(dtype);
  const auto numel = static_cast<int64_t>(bytes.size() / width);
  const auto address = reinterpret_cast<uintptr_t>(bytes.data());
  if (numel == 0 || address % width != 0) {
    at::Tensor copy = at::empty({numel}, dtype);
    if (numel > 0) {
      std::memcpy(copy.mutable_data_ptr(), bytes.data(), bytes.size());
    }
    return copy;
  }
  // The copy of the file keeps the mapping alive. Nothing writes through it: the pages are read-only.
  auto* const kept = new MappedFile(file);
  c10::DataPtr data(const_cast<char*>(bytes.data()), kept, drop_mapping, c10::kCPU);
  c10::Storage storage(c10::Storage::use_byte_size_t(), bytes.size(), std::move(data));
  at::Tensor tensor = at::empty({0}, at::TensorOptions(dtype));
  tensor.set_(std::move(storage), 0, {numel}, {});
  return tensor;
}

bool is_mapped(const at::Tensor& tensor) {
  return tensor.defined() && tensor.is_cpu() && mapping_of(tensor) != nullptr;
}

void release_mapped_pages(const at::Tensor& tensor) {
  if (is_mapped(tensor) && tensor.numel() > 0 && tensor.is_contiguous()) {
    const MappedFile& file = *mapping_of(tensor);
    const std::string_view bytes = tensor_bytes(tensor);
    file.release(static_cast<size_t>(bytes.data() - file.bytes().data()), bytes.size());
  }
}

std::string_view tensor_bytes(const at::Tensor& tensor) {
  return {static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes()};
}

ContentHash hash_tensors(const std::vector<StateDict::Entry>& entries, const ContentHash& previous) {
  const std::map<std::string, at::Tensor> by_name(entries.begin(), entries.end());
  ContentHash hash = previous;
  for (const auto& [name, tensor] : by_name) {
    const at::Tensor numbers = tensor.detach().cpu().contiguous();
    hash = hash_content(concat(name, ' ', numbers.scalar_type(), numbers.sizes()), hash);
    hash = hash_content(tensor_bytes(numbers), hash);
    release_mapped_pages(tensor);
  }
  return hash;
}

int64_t checked_numel(at::IntArrayRef sizes, const std::string& where) {
  constexpr int64_t kLargest = std::numeric_limits<int64_t>::max() / 128;
  int64_t numel = 1;
  int64_t product = 1;  // without zeros: sizes like [0, 2^62, 2^62] overflow in strides
  for (const int64_t size : sizes) {
    if (size < 0 || (size > 0 && product > kLargest / size)) {
      fail(where, ": expected a shape that fits in memory, found ", sizes);
    }
    product *= size == 0 ? 1 : size;
    numel *= size;
  }
  return numel;
}

}  // namespace minimind
