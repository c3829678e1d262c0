#include "minimind/model/layers.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <tuple>
#include <utility>

#include "minimind/base/error.h"
#include "model/gpu_support.h"
#include "model/ops/activations.h"
#include "model/ops/fused_attention.h"
#include "model/ops/narrow_weights.h"
#include "model/ops/rms_norm.h"
#include "model/ops/rope.h"
#include "model/packed_linear.h"
#include "model/skip_init.h"

namespace minimind {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// Appends the new positions. Returns all positions: [B, K, T, d] each.
std::pair<at::Tensor, at::Tensor> extend_cache(LayerCache& cache, const at::Tensor& keys, const at::Tensor& values) {
  const int64_t count = keys.size(2);
  const int64_t capacity = cache.keys.size(2);
  require(cache.keys.size(0) == keys.size(0), "key/value cache: expected a batch of ", cache.keys.size(0), ", found ",
          keys.size(0));
  require(cache.length + count <= capacity, "key/value cache: room for ", capacity, " tokens, found ",
          cache.length + count, "; shorten the prompt or raise max_seq_len");
  cache.keys.narrow(2, cache.length, count).copy_(keys);
  cache.values.narrow(2, cache.length, count).copy_(values);
  cache.length += count;
  return {cache.keys.narrow(2, 0, cache.length).to(keys.scalar_type()),
          cache.values.narrow(2, 0, cache.length).to(values.scalar_type())};
}

/// softmax(scale * queries · keys^T + bias): [B*K, H/K*S, T].
at::Tensor attention_weights(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& bias, double scale) {
  return at::softmax(at::baddbmm(bias, queries, keys.transpose(1, 2), /*beta=*/1.0, /*alpha=*/scale), -1);
}

/// The attention weights of long samples would be most of the saved memory: the backward recomputes them. They are
/// saved if T <= 4 d.
class AttentionFunction : public torch::autograd::Function<AttentionFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& queries, const at::Tensor& keys,
                            const at::Tensor& values, const at::Tensor& bias, double scale) {
    const at::Tensor weights = attention_weights(queries, keys, bias, scale);
    const bool saves = keys.size(1) <= 4 * keys.size(2);
    context->save_for_backward({queries, keys, values, bias, saves ? weights : at::Tensor()});
    context->saved_data["scale"] = scale;
    return at::bmm(weights, values);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &queries = saved[0], &keys = saved[1], &values = saved[2];
    const double scale = context->saved_data["scale"].toDouble();
    const at::Tensor weights = saved[4].defined() ? saved[4] : attention_weights(queries, keys, saved[3], scale);
    const at::Tensor& gradient = gradients[0];
    const at::Tensor value_gradient = at::bmm(weights.transpose(1, 2), gradient);
    const at::Tensor score_gradient =
        at::_softmax_backward_data(at::bmm(gradient, values.transpose(1, 2)), weights, -1, weights.scalar_type());
    return {at::bmm(score_gradient, keys).mul_(scale), at::bmm(score_gradient.transpose(1, 2), queries).mul_(scale),
            value_gradient, at::Tensor(), at::Tensor()};
  }
};

/// Stacks the queries of one key/value head, so that keys are never repeated. On a CPU, at a few hundred positions, two
/// GEMMs beat the fused kernel forward and backward.
at::Tensor stacked_attention(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values,
                             double dropout) {
  const int64_t batch = queries.size(0), count = queries.size(1), n_heads = queries.size(2), width = queries.size(3);
  const int64_t n_kv_heads = keys.size(1), positions = keys.size(2), heads_per_kv_head = n_heads / n_kv_heads;
  const double scale = 1.0 / std::sqrt(static_cast<double>(width));
  const at::Tensor stacked = to_autocast_dtype(queries.view({batch, count, n_kv_heads, heads_per_kv_head, width})
                                                   .permute({0, 2, 3, 1, 4})
                                                   .reshape({batch * n_kv_heads, heads_per_kv_head * count, width}));
  const at::Tensor flat_keys = to_autocast_dtype(keys.reshape({batch * n_kv_heads, positions, width}));
  const at::Tensor flat_values = to_autocast_dtype(values.reshape({batch * n_kv_heads, positions, width}));
  at::Tensor bias, output;  // output: [B*K, H/K*S, d]
  if (count > 1) {
    bias = causal_bias(count, positions, stacked.options()).repeat({heads_per_kv_head, 1}).unsqueeze(0);
  }
  if (count > 1 && dropout == 0) {
    output = AttentionFunction::apply(stacked, flat_keys, flat_values, bias, scale);
  } else {
    const at::Tensor weights = count > 1 ? attention_weights(stacked, flat_keys, bias, scale)
                                         : at::softmax(at::bmm(stacked, flat_keys.transpose(1, 2)).mul_(scale), -1);
    output = at::bmm(drop_out(weights, dropout, /*training=*/true), flat_values);
  }
  return output.view({batch, n_kv_heads, heads_per_kv_head, count, width})
      .permute({0, 3, 1, 2, 4})
      .reshape({batch, count, n_heads * width});
}

/// Layers whose weights are cast together where that pays; else each multiplies as it is.
class NarrowLinears {
 public:
  NarrowLinears(std::initializer_list<Linear> linears) : linears_(linears) {
    std::vector<at::Tensor> weights;
    for (const Linear& linear : linears) {
      weights.push_back(linear->weight);
    }
    weights_ = narrow_weights(weights);
  }

  at::Tensor weight(size_t index) const {
    return weights_.empty() ? to_autocast_dtype(linears_[index]->weight) : weights_[index];
  }
  at::Tensor multiply(size_t index, const at::Tensor& input) const {
    return weights_.empty() ? linears_[index]->forward(input) : at::linear(input, weights_[index]);
  }

 private:
  std::vector<Linear> linears_;
  std::vector<at::Tensor> weights_;
};

}  // namespace

LinearImpl::LinearImpl(int64_t in, int64_t out, bool with_bias, torch::Dtype dtype) {
  weight = register_parameter("weight", new_weights({out, in}, dtype));
  if (with_bias) {
    bias = register_parameter("bias", at::zeros({out}));
  }
}

torch::Tensor LinearImpl::forward(const torch::Tensor& input) const {
  if (packed) {
    return packed->multiply(input);
  }
  const bool narrows = weight.scalar_type() == at::kBFloat16 && input.scalar_type() == at::kFloat;
  return at::linear(narrows ? input.to(at::kBFloat16) : input, weight, bias);
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
  const NarrowLinears narrow{w1, w3, w2};
  const at::Tensor gate = narrow.multiply(0, shared), up = narrow.multiply(1, shared);
  const at::Tensor output =
      c10::GradMode::is_enabled() ? swiglu_linear(gate, up, narrow.weight(2)) : narrow.multiply(2, swiglu(gate, up));
  return drop_out(output, dropout_, is_training());
}

at::Tensor grouped_query_attention(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values,
                                   double dropout) {
  if (!queries.is_cuda()) {
    return stacked_attention(queries, keys, values, dropout);
  }
  const at::ScalarType dtype = at::autocast::is_autocast_enabled(at::kCUDA)
                                   ? at::autocast::get_autocast_dtype(at::kCUDA)
                                   : queries.scalar_type();
  return fused_attention(queries, keys, values, dropout, takes_fewer_kv_heads(gpu_support_of(queries.device()), dtype));
}

AttentionImpl::AttentionImpl(const LmConfig& config)
    : dim_(config.dim),
      n_heads_(config.n_heads),
      n_kv_heads_(config.n_kv_heads),
      head_dim_(config.head_dim()),
      dropout_(config.dropout) {
  wq = register_module("wq", Linear(dim_, n_heads_ * head_dim_));
  wk = register_module("wk", Linear(dim_, n_kv_heads_ * head_dim_));
  wv = register_module("wv", Linear(dim_, n_kv_heads_ * head_dim_));
  wo = register_module("wo", Linear(n_heads_ * head_dim_, dim_));
}

torch::Tensor AttentionImpl::forward(const torch::Tensor& hidden, const torch::Tensor& rotations, LayerCache* cache,
                                     const torch::Tensor& rows) {
  require(hidden.dim() == 3 && hidden.size(2) == dim_, "attention: expected [B, S, ", dim_, "], found ",
          hidden.sizes());
  const int64_t batch = hidden.size(0), count = hidden.size(1);
  const at::Tensor input = to_autocast_dtype(hidden);
  const NarrowLinears narrow{wq, wk, wv, wo};
  at::Tensor queries;
  if (rows.defined()) {
    // The GEMMs compute the chosen rows only. The attention is a small part of the work and computes all positions.
    const at::Tensor chosen = narrow.multiply(0, input.flatten(0, 1).index_select(0, rows));
    queries = at::zeros({batch * count, n_heads_ * head_dim_}, chosen.options()).index_copy(0, rows, chosen);
  } else {
    queries = narrow.multiply(0, input);
  }
  queries = apply_rope(queries.view({batch, count, n_heads_, head_dim_}), rotations);
  at::Tensor keys =
      apply_rope(narrow.multiply(1, input).view({batch, count, n_kv_heads_, head_dim_}), rotations).transpose(1, 2);
  at::Tensor values = narrow.multiply(2, input).view({batch, count, n_kv_heads_, head_dim_}).transpose(1, 2);
  if (cache != nullptr) {
    std::tie(keys, values) = extend_cache(*cache, keys, values);
  }
  at::Tensor output = grouped_query_attention(queries, keys, values, is_training() ? dropout_ : 0.0);
  if (rows.defined()) {
    output = output.flatten(0, 1).index_select(0, rows);
  }
  return drop_out(narrow.multiply(3, output), dropout_, is_training());
}

torch::Tensor drop_out(const torch::Tensor& tensor, double probability, bool training) {
  return training && probability > 0 ? at::dropout(tensor, probability, /*train=*/true) : tensor;
}

torch::Tensor to_autocast_dtype(const torch::Tensor& tensor) {
  const auto device = tensor.device().type();
  return at::autocast::is_autocast_enabled(device) ? tensor.to(at::autocast::get_autocast_dtype(device)) : tensor;
}

}  // namespace minimind
