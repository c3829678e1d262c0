#include "model/gpu_support.h"

#ifdef MINIMIND_WITH_CUDA
#include <ATen/Context.h>
#include <ATen/cuda/CUDAContext.h>
#endif

#include "minimind/base/error.h"

namespace minimind {

GpuSupport gpu_support(int major, int minor) {
  GpuSupport support;
  if (major < 7 || (major == 7 && minor < 5)) {
    support.refusal = concat("expected a GPU of compute capability 7.5 (Turing) or later, found ", major, ".", minor,
                             ", which LibTorch's kernels do not serve; use --device cpu");
  }
  if (major < 8) {
    support.auto_dtype = at::kHalf;
    support.has_bfloat16 = false;
    support.has_flash_attention = false;
  }
  return support;
}

#ifdef MINIMIND_WITH_CUDA
GpuSupport gpu_support_of(const c10::Device& device) {
  if (!device.is_cuda() || device.index() >= static_cast<c10::DeviceIndex>(at::getNumGPUs())) {
    return {};
  }
  const cudaDeviceProp* properties = at::cuda::getDeviceProperties(device.index());
  return gpu_support(properties->major, properties->minor);
}
#else
GpuSupport gpu_support_of(const c10::Device& /*device*/) {
  return {};
}
#endif

bool takes_fewer_kv_heads(const GpuSupport& support, at::ScalarType dtype) {
  return support.has_flash_attention && (dtype == at::kHalf || dtype == at::kBFloat16);
}

}  // namespace minimind
