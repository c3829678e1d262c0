#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace minimind {

/// Place of a tensor in a safetensors file.
struct TensorLayout {
  std::string name;
  std::string dtype;  ///< the format's name, for example F32
  std::vector<int64_t> shape;
  uint64_t bytes = 0;
};

/// What a safetensors file holds in front of its data: the length of the header, the header as JSON, and blanks up to
/// a multiple of 64 bytes. The tensors' bytes follow in this order without gaps. Throws std::logic_error if a name
/// occurs twice.
std::string safetensors_header(const std::vector<TensorLayout>& tensors,
                               const std::map<std::string, std::string>& metadata);

}  // namespace minimind
