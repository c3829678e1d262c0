#include "minimind/model/layers.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>

#include "model/ops/rms_norm.h"
#include "model/ops/swiglu.h"
#include "model/packed_linear.h"
#include "model/skip_init.h"

namespace minimind {

LinearImpl::LinearImpl(int64_t in, int64_t out, bool with_bias, torch::Dtype dtype) {
  weight = register_parameter("weight", new_weights({out, in}, dtype));
  if (with_bias) {
    bias = register_parameter("bias", at::zeros({out}));
  }
}

torch::Tensor LinearImpl::forward(const torch::Tensor& input) const {
  return packed ? packed->multiply(input) : at::linear(input, weight, bias);
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
  return rms_norm(input, weight, eps_);
}

FeedForwardImpl::FeedForwardImpl(const LmConfig& config) : dropout_(config.dropout) {
  const int64_t dim = config.dim, inner_dim = config.inner_dim();
  w1 = register_module("w1", Linear(dim, inner_dim));
  w2 = register_module("w2", Linear(inner_dim, dim));
  w3 = register_module("w3", Linear(dim, inner_dim));
}

torch::Tensor FeedForwardImpl::forward(const torch::Tensor& input) const {
  const at::Tensor shared = to_autocast_dtype(input);
  const at::Tensor gate = w1->forward(shared), up = w3->forward(shared);
  const at::Tensor output = c10::GradMode::is_enabled() ? swiglu_linear(gate, up, to_autocast_dtype(w2->weight))
                                                        : w2->forward(swiglu(gate, up));
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
