#include "model/skip_init.h"

#include <ATen/ops/zeros.h>

namespace minimind {

namespace {

// As with LibTorch's own guards, the thread is the scope.
thread_local bool is_unfilled = false;

}  // namespace

SkipInit::SkipInit() : before_(is_unfilled) {
  is_unfilled = true;
}

SkipInit::~SkipInit() {
  is_unfilled = before_;
}

at::Tensor new_weights(at::IntArrayRef sizes, at::ScalarType dtype) {
  return is_unfilled ? at::zeros({1}, dtype).expand(sizes) : at::zeros(sizes, dtype);
}

}  // namespace minimind
