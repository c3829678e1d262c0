#include "model/ops/narrow_weights.h"

#include <ATen/autocast_mode.h>
#include <ATen/ops/_foreach_copy.h>
#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <iterator>
#include <utility>

namespace minimind {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// Copies in this dtype.
variable_list cast_all(const variable_list& tensors, at::ScalarType dtype) {
  variable_list copies;
  for (const at::Tensor& tensor : tensors) {
    copies.push_back(at::empty_like(tensor, tensor.options().dtype(dtype)));
  }
  at::_foreach_copy_(copies, tensors);
  return copies;
}

class CastFunction : public torch::autograd::Function<CastFunction> {
 public:
  static variable_list forward(AutogradContext* context, at::TensorList weights, at::ScalarType dtype) {
    context->set_materialize_grads(false);
    context->saved_data["dtype"] = static_cast<int64_t>(weights[0].scalar_type());
    return cast_all(weights.vec(), dtype);
  }

  /// A frozen weight has no gradient.
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    variable_list given;
    std::ranges::copy_if(gradients, std::back_inserter(given),
                         [](const at::Tensor& tensor) { return tensor.defined(); });
    if (!given.empty()) {
      variable_list cast = cast_all(given, static_cast<at::ScalarType>(context->saved_data["dtype"].toInt()));
      for (size_t i = 0, next = 0; i < gradients.size(); ++i) {
        gradients[i] = gradients[i].defined() ? std::move(cast[next++]) : at::Tensor();
      }
    }
    gradients.emplace_back();  // of the dtype
    return gradients;
  }
};

}  // namespace

std::vector<at::Tensor> cast_together(const std::vector<at::Tensor>& weights, at::ScalarType dtype) {
  return CastFunction::apply(at::TensorList(weights), dtype);
}

std::vector<at::Tensor> narrow_weights(const std::vector<at::Tensor>& weights) {
  if (!at::autocast::is_autocast_enabled(at::kCUDA) || !weights[0].defined() || !weights[0].is_cuda()) {
    return {};
  }
  return cast_together(weights, at::autocast::get_autocast_dtype(at::kCUDA));
}

}  // namespace minimind
