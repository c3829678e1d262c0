#include "base/tensor_layout.h"

#include <stdexcept>

#include "base/bytes.h"
#include "base/json.h"

namespace minimind {

std::string safetensors_header(const std::vector<TensorLayout>& tensors,
                               const std::map<std::string, std::string>& metadata) {
  constexpr size_t kAlignment = 64;
  OrderedJson header = OrderedJson::object();
  if (!metadata.empty()) {
    header["__metadata__"] = metadata;
  }
  uint64_t at = 0;
  for (const TensorLayout& tensor : tensors) {
    OrderedJson entry = {{"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {at, at + tensor.bytes}}};
    if (!header.emplace(tensor.name, std::move(entry)).second) {
      throw std::logic_error("safetensors: two tensors have the name " + tensor.name);
    }
    at += tensor.bytes;
  }
  std::string text = header.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
  text.resize((sizeof(uint64_t) + text.size() + kAlignment - 1) / kAlignment * kAlignment - sizeof(uint64_t), ' ');
  std::string bytes;
  append_little_endian(bytes, uint64_t{text.size()});
  return bytes + text;
}

}  // namespace minimind
