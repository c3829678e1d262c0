#include "kernels/gemv.h"

#if defined(__x86_64__)
#include "kernels/lanes_avx2.h"
// After the lanes.
#include "kernels/gemv.inl"

namespace minimind {

const GemvKernels kAvx2Kernels = avx2::gemv_kernels(
    "avx2", [] { return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0; });

}  // namespace minimind

#endif
