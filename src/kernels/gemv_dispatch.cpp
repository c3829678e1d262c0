#include "kernels/gemv.h"

namespace minimind {

namespace {

/// A set that the compiler's target cannot run.
constexpr GemvKernels unavailable(const char* name) {
  GemvKernels kernels = {};
  kernels.name = name;
  kernels.available = [] { return false; };
  return kernels;
}

}  // namespace

#if !defined(__x86_64__)
const GemvKernels kAvx2Kernels = unavailable("avx2");
const GemvKernels kAvx512Kernels = unavailable("avx512");
const GemvKernels kAmxKernels = unavailable("amx");
#endif
#if !defined(__aarch64__)
const GemvKernels kNeonKernels = unavailable("neon");
#endif

const GemvKernels& best_gemv_kernels() {
  const GemvKernels* const from_fastest[] = {&kAmxKernels, &kAvx512Kernels, &kAvx2Kernels, &kNeonKernels};
  for (const GemvKernels* kernels : from_fastest) {
    if (kernels->available()) {
      return *kernels;
    }
  }
  return kScalarKernels;
}

bool has_vector_kernels() {
  return &best_gemv_kernels() != &kScalarKernels;
}

int32_t largest_level(int64_t cols) {
  const int64_t fits = 2147483647LL / (127 * (cols > 0 ? cols : 1));
  return fits > 32767 ? 32767 : static_cast<int32_t>(fits);
}

}  // namespace minimind
