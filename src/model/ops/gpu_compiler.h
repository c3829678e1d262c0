#pragma once

#include <c10/core/ScalarType.h>

#include <string>
#include <string_view>

namespace minimind {

/// What NVRTC made of a file of src/model/ops/gpu.
struct GpuProgram {
  std::string binary;  ///< of all kernels of the file; empty if they could not be compiled
  std::string log;     ///< the compiler's errors and warnings
  std::string error;   ///< why there is no binary; empty if there is one
};

/// Whether NVRTC, CUDA's compiler as a library, can be loaded. It lies beside LibTorch and needs neither a toolkit nor
/// a GPU.
bool has_gpu_compiler();

/// Compiles the file for a compute capability and for numbers of float32, bfloat16 or float16.
GpuProgram compile_gpu_program(std::string_view file, at::ScalarType dtype, int major, int minor);

}  // namespace minimind
