#pragma once

#include <ATen/core/Tensor.h>

namespace minimind::detail {

/// Whether a tensor of real numbers holds no NaN and no infinity. Reads each number once, on all threads.
bool all_finite(const at::Tensor& tensor);

}  // namespace minimind::detail
