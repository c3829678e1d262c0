#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace minimind::sample {

/// A float32 tensor, row-major.
struct NamedTensor {
  std::string name;
  std::vector<int64_t> shape;
  std::vector<float> values;
};

/// The safetensors format, without LibTorch: the sample is made before anything is trained, by a small program.
void write_float_safetensors(const std::filesystem::path& path, const std::vector<NamedTensor>& tensors);

}  // namespace minimind::sample
