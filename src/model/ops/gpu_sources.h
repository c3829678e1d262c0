#pragma once

#include <string_view>
#include <vector>

namespace minimind {

/// A file of src/model/ops/gpu.
struct GpuSource {
  std::string_view name;
  std::string_view bytes;
};

/// All of them. The build makes the source of this function: cmake/EmbedFiles.cmake.
const std::vector<GpuSource>& gpu_sources();

}  // namespace minimind
