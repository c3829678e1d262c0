#include "kernels/gemv.h"

#if defined(__aarch64__)
#include "kernels/lanes_neon.h"
// After the lanes.
#include "kernels/gemv.inl"

namespace minimind {

// Every aarch64 processor has NEON.
const GemvKernels kNeonKernels = neon::gemv_kernels("neon", [] { return true; });

}  // namespace minimind

#endif
