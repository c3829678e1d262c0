#pragma once

#include <ATen/core/Tensor.h>

namespace minimind {

/// While one lives, modules built by its thread get placeholders in place of matrices: right in shape, without memory
/// of their own and not to be written. A load with LoadOptions::share_file then gives each its tensor, so that a
/// model that is only used costs neither the time nor the memory of being filled with zeros first.
class SkipInit {
 public:
  SkipInit();
  ~SkipInit();
  SkipInit(const SkipInit&) = delete;
  SkipInit& operator=(const SkipInit&) = delete;

 private:
  bool before_;
};

/// Zeros of this shape, or a placeholder where SkipInit says so.
at::Tensor new_weights(at::IntArrayRef sizes, at::ScalarType dtype = at::kFloat);

}  // namespace minimind
