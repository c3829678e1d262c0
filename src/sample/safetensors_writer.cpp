#include "sample/safetensors_writer.h"

#include <bit>
#include <nlohmann/json.hpp>

#include "minimind/base/file.h"

namespace minimind::sample {

void write_float_safetensors(const std::filesystem::path& path, const std::vector<NamedTensor>& tensors) {
  static_assert(std::endian::native == std::endian::little, "safetensors files are little-endian");
  nlohmann::ordered_json header = {{"__metadata__", {{"format", "pt"}}}};
  size_t offset = 0;
  for (const NamedTensor& tensor : tensors) {
    size_t size = tensor.values.size() * sizeof(float);
    header[tensor.name] = {{"dtype", "F32"}, {"shape", tensor.shape}, {"data_offsets", {offset, offset + size}}};
    offset += size;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  auto length = static_cast<uint64_t>(text.size());
  AtomicFile file(path);
  file.write(&length, sizeof(length));
  file.write(text);
  for (const NamedTensor& tensor : tensors) {
    file.write(tensor.values.data(), tensor.values.size() * sizeof(float));
  }
  file.commit();
}

}  // namespace minimind::sample
