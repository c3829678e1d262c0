#include "kernels/gemv.h"

#if defined(__aarch64__)

#include "kernels/lanes_neon.h"
// After the lanes.
#include "kernels/gemv.inl"

namespace minimind {

namespace {

/// Every aarch64 processor has NEON.
bool neon_available() {
  return true;
}

}  // namespace

const GemvKernels kNeonKernels = neon::gemv_kernels("neon", neon_available);

}  // namespace minimind

#endif
