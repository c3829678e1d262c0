#include "kernels/gemv.h"
#include "kernels/lanes_scalar.h"
// After the lanes.
#include "kernels/gemv.inl"

namespace minimind {

namespace {

bool scalar_available() {
  return true;
}

}  // namespace

const GemvKernels kScalarKernels = scalar::gemv_kernels("scalar", scalar_available);

}  // namespace minimind
