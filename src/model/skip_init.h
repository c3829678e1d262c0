#pragma once

#include <ATen/core/Tensor.h>

namespace minimind {

/// While an object lives, new_weights() gives its thread placeholders: tensors of the right shape, without memory of
/// their own and read-only. A load with LoadOptions::map_weights then replaces them. This saves the time and memory of
/// filling the weights with zeros first.
class SkipInit {
 public:
  SkipInit();
  ~SkipInit();
  SkipInit(const SkipInit&) = delete;
  SkipInit& operator=(const SkipInit&) = delete;

 private:
  bool before_;
};

/// Zeros of this shape, or a placeholder while a SkipInit lives.
at::Tensor new_weights(at::IntArrayRef sizes, at::ScalarType dtype = at::kFloat);

}  // namespace minimind
