#include "minimind/model/layers.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "model/row_passes.h"
#include "model/skip_init.h"

namespace minimind {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

bool has_row_pass(const at::Tensor& tensor) {
  return tensor.is_cpu() && tensor.scalar_type() == at::kFloat && tensor.is_contiguous();
}

/// One node in place of five, which saves three tensors and as many sweeps over them.
class RmsNormFunction : public torch::autograd::Function<RmsNormFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& input, const at::Tensor& weight, double eps) {
    if (has_row_pass(input) && has_row_pass(weight)) {
      const at::Tensor output = at::empty_like(input);
      std::vector<int64_t> rows = input.sizes().vec();
      rows.back() = 1;
      const at::Tensor inverse = at::empty(rows, input.options());
      detail::normalise_rows(input, weight, eps, output, inverse);
      context->save_for_backward({input, weight, inverse});
      return output;
    }
    const at::Tensor wide = input.to(at::kFloat);
    const at::Tensor inverse = wide.square().mean(-1, /*keepdim=*/true).add_(eps).rsqrt_();
    const at::Tensor normed = at::mul(wide, inverse).to(input.scalar_type());
    context->save_for_backward({input, weight, inverse});
    return normed * weight;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor& input = saved[0];
    const at::Tensor& weight = saved[1];
    const at::Tensor& inverse = saved[2];
    const at::Tensor gradient = gradients[0].to(at::kFloat);
    if (has_row_pass(input) && has_row_pass(weight)) {
      const at::Tensor input_gradient = at::empty_like(input);
      const at::Tensor weight_gradient = context->needs_input_grad(1) ? at::empty_like(weight) : at::Tensor();
      detail::normalise_rows_backward(gradient.contiguous(), input, weight, inverse, input_gradient, weight_gradient);
      return {input_gradient, weight_gradient, at::Tensor()};
    }
    const at::Tensor normed = at::mul(input.to(at::kFloat), inverse);
    at::Tensor weight_gradient;
    if (context->needs_input_grad(1)) {
      const int64_t width = weight.size(0);
      weight_gradient =
          at::mul(gradient, normed).reshape({-1, width}).sum(/*dim=*/0, /*keepdim=*/false).to(weight.scalar_type());
    }
    at::Tensor inner = at::mul(gradient, weight.to(at::kFloat));
    const at::Tensor along = at::mul(inner, normed).mean(-1, /*keepdim=*/true);
    inner.addcmul_(normed, along, -1.0).mul_(inverse);
    return {inner.to(input.scalar_type()), weight_gradient, at::Tensor()};
  }
};

/// (silu(gate) * value) · weight^T; keeps gate and value alone, their product is made again on the way back.
class SwigluProductFunction : public torch::autograd::Function<SwigluProductFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& gate, const at::Tensor& value,
                            const at::Tensor& weight) {
    context->save_for_backward({gate, value, weight});
    return at::linear(at::silu(gate).mul_(value), weight);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor& gate = saved[0];
    const at::Tensor& value = saved[1];
    const at::Tensor& weight = saved[2];
    at::Tensor activated = at::silu(gate);
    at::Tensor weight_gradient;
    if (context->needs_input_grad(2)) {
      weight_gradient = at::mm(gradients[0].flatten(0, -2).t(), at::mul(activated, value).flatten(0, -2));
    }
    const at::Tensor inner = at::matmul(gradients[0], weight);
    const at::Tensor gate_gradient = at::silu_backward(at::mul(inner, value), gate);
    return {gate_gradient, activated.mul_(inner), weight_gradient};
  }
};

}  // namespace

LinearImpl::LinearImpl(int64_t in, int64_t out, bool with_bias) {
  weight = register_parameter("weight", new_weights({out, in}));
  if (with_bias) {
    bias = register_parameter("bias", at::zeros({out}));
  }
}

torch::Tensor LinearImpl::forward(const torch::Tensor& input) const {
  return at::linear(input, weight, bias);
}

EmbeddingImpl::EmbeddingImpl(int64_t count, int64_t dim) {
  weight = register_parameter("weight", new_weights({count, dim}));
}

torch::Tensor EmbeddingImpl::forward(const torch::Tensor& ids) const {
  return at::embedding(weight, ids);
}

RmsNormImpl::RmsNormImpl(int64_t dim, double eps) : eps_(eps) {
  weight = register_parameter("weight", at::ones({dim}));
}

torch::Tensor RmsNormImpl::forward(const torch::Tensor& input) const {
  return RmsNormFunction::apply(input, weight, eps_);
}

FeedForwardImpl::FeedForwardImpl(const LmConfig& config) : dropout_(config.dropout) {
  const int64_t dim = config.dim, inner_dim = config.inner_dim();
  w1 = register_module("w1", Linear(dim, inner_dim));
  w2 = register_module("w2", Linear(inner_dim, dim));
  w3 = register_module("w3", Linear(dim, inner_dim));
}

torch::Tensor FeedForwardImpl::forward(const torch::Tensor& input) const {
  const at::Tensor narrow = to_autocast_dtype(input);
  const at::Tensor output =
      SwigluProductFunction::apply(w1->forward(narrow), w3->forward(narrow), to_autocast_dtype(w2->weight));
  return drop_out(output, dropout_, is_training());
}

torch::Tensor drop_out(const torch::Tensor& tensor, double probability, bool training) {
  return training && probability > 0 ? at::dropout(tensor, probability, /*train=*/true) : tensor;
}

torch::Tensor to_autocast_dtype(const torch::Tensor& tensor) {
  const auto device = tensor.device().type();
  return at::autocast::is_autocast_enabled(device) ? tensor.to(at::autocast::get_autocast_dtype(device)) : tensor;
}

}  // namespace minimind
