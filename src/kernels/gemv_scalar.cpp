#include "kernels/gemv.h"
#include "kernels/lanes_scalar.h"
// After the lanes.
#include "kernels/gemv.inl"

namespace minimind {

const GemvKernels kScalarKernels = scalar::gemv_kernels("scalar", [] { return true; });

}  // namespace minimind
