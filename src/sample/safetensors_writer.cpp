#include "sample/safetensors_writer.h"

#include <bit>

#include "base/tensor_layout.h"
#include "minimind/base/file.h"

namespace minimind::sample {

void write_float_safetensors(const std::filesystem::path& path, const std::vector<NamedTensor>& tensors) {
  static_assert(std::endian::native == std::endian::little, "safetensors files are little-endian");
  std::vector<TensorLayout> layouts;
  for (const NamedTensor& tensor : tensors) {
    layouts.push_back({tensor.name, "F32", tensor.shape, tensor.values.size() * sizeof(float)});
  }
  AtomicFile file(path);
  file.write(safetensors_header(layouts, {{"format", "pt"}}));
  for (const NamedTensor& tensor : tensors) {
    file.write(tensor.values.data(), tensor.values.size() * sizeof(float));
  }
  file.commit();
}

}  // namespace minimind::sample
