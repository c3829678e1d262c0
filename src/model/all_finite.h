#pragma once

#include <ATen/core/Tensor.h>

namespace minimind::detail {

/// Whether a tensor on the CPU is free of NaN and infinity. Reads contiguous numbers once, as fast as memory gives
/// them.
bool all_finite(const at::Tensor& tensor);

}  // namespace minimind::detail
