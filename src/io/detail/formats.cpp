#include "io/detail/formats.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <cstring>
#include <limits>

#include "minimind/base/error.h"

namespace minimind::detail {

std::string shape_text(at::IntArrayRef sizes) {
  std::string text = "[";
  for (const int64_t size : sizes) {
    text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  }
  return text + "]";
}

int64_t checked_numel(at::IntArrayRef sizes, const std::string& where) {
  constexpr int64_t kLargest = std::numeric_limits<int64_t>::max() / 128;
  int64_t numel = 1;
  int64_t product = 1;  // without zeros: sizes like [0, 2^62, 2^62] overflow in strides
  for (const int64_t size : sizes) {
    require(size >= 0 && (size == 0 || product <= kLargest / size), where,
            ": expected a shape that fits in memory, found ", shape_text(sizes));
    product *= size == 0 ? 1 : size;
    numel *= size;
  }
  return numel;
}

at::Tensor mapped_tensor(const MappedFile& file, std::string_view bytes, at::ScalarType dtype) {
  const size_t width = c10::elementSize(dtype);
  const int64_t numel = static_cast<int64_t>(bytes.size() / width);
  const auto address = reinterpret_cast<uintptr_t>(bytes.data());
  if (numel == 0 || address % width != 0) {
    at::Tensor copy = at::empty({numel}, dtype);
    if (numel > 0) {
      std::memcpy(copy.mutable_data_ptr(), bytes.data(), bytes.size());
    }
    return copy;
  }
  // The deleter's copy of the file keeps the mapping alive. Nothing writes through it: the pages are read-only.
  return at::from_blob(
      const_cast<char*>(bytes.data()), {numel}, [file](void*) {}, at::TensorOptions(dtype));
}

std::string_view tensor_bytes(const at::Tensor& tensor) {
  return {static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes()};
}

}  // namespace minimind::detail
