#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <string>

namespace minimind {

/// What a GPU of one compute capability can do with the kernels of LibTorch's wheel (sm_75 to sm_120).
struct GpuSupport {
  std::string refusal;                        ///< why it cannot be used at all; empty if it can
  at::ScalarType auto_dtype = at::kBFloat16;  ///< of the matmuls for --dtype auto
  bool has_bfloat16 = true;                   ///< native bfloat16 matmuls
  bool has_flash_attention = true;            ///< for 16-bit inputs; it takes fewer key/value heads than query heads
};

GpuSupport gpu_support(int major, int minor);

/// Of the device. A CPU and a GPU of unknown capability (not there, or a build without CUDA) count as a recent GPU.
GpuSupport gpu_support_of(const c10::Device& device);

/// Whether fused attention takes fewer key/value heads than query heads for inputs of this dtype. Other fused kernels
/// need equal numbers of heads: then repeated keys and values beat the unfused attention.
bool takes_fewer_kv_heads(const GpuSupport& support, at::ScalarType dtype);

}  // namespace minimind
