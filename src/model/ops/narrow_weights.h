#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace minimind {

/// With gradients: the weights, all of one dtype, in another dtype. On a GPU one kernel casts all of them, and one all
/// of their gradients.
std::vector<at::Tensor> cast_together(const std::vector<at::Tensor>& weights, at::ScalarType dtype);

/// The weights in autocast's dtype. Autocast casts one weight at a time to the same numbers. Empty without autocast and
/// on a CPU: the caller then leaves the casts to autocast.
std::vector<at::Tensor> narrow_weights(const std::vector<at::Tensor>& weights);

}  // namespace minimind
