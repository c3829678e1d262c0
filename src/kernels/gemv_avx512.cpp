#include "kernels/gemv.h"

#if defined(__x86_64__)
#include "kernels/lanes_avx512.h"
// After the lanes.
#include "kernels/gemv.inl"

namespace minimind {

namespace {

bool avx512_available() {
  return kAvx2Kernels.available() && __builtin_cpu_supports("avx512f") != 0 &&
         __builtin_cpu_supports("avx512bw") != 0 && __builtin_cpu_supports("avx512dq") != 0 &&
         __builtin_cpu_supports("avx512vl") != 0 && __builtin_cpu_supports("avx512bf16") != 0;
}

constexpr GemvKernels amx_kernels() {
  GemvKernels kernels = avx512::gemv_kernels("amx", [] { return avx512_available() && amx_available(); });
  kernels.small_gemm_bf16 = amx_small_gemm_bf16;
  return kernels;
}

}  // namespace

const GemvKernels kAvx512Kernels = avx512::gemv_kernels("avx512", avx512_available);
const GemvKernels kAmxKernels = amx_kernels();

}  // namespace minimind

#endif
