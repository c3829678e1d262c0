#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include <vector>

#include "minimind/model/config.h"

namespace minimind {

/// `x · weight^T (+ bias)`. The weight is zero until initialise() or a load fills it (torch::nn::Linear would spend a
/// second on random numbers that nobody reads). State keys: weight, bias.
class LinearImpl : public torch::nn::Module {
 public:
  LinearImpl(int64_t in, int64_t out, bool with_bias = false);
  torch::Tensor forward(const torch::Tensor& input) const;

  torch::Tensor weight;  ///< [out, in]
  torch::Tensor bias;    ///< [out], undefined without one
};
TORCH_MODULE(Linear);

/// Token embeddings, also the output head. State key: weight.
class EmbeddingImpl : public torch::nn::Module {
 public:
  EmbeddingImpl(int64_t count, int64_t dim);
  /// ids [...] int64 → [..., dim]. The backward is deterministic.
  torch::Tensor forward(const torch::Tensor& ids) const;

  torch::Tensor weight;  ///< [count, dim]
};
TORCH_MODULE(Embedding);

/// `x / sqrt(mean(x²) + eps)` in float32, cast back, times the weight. State key: weight, ones at the start.
class RmsNormImpl : public torch::nn::Module {
 public:
  RmsNormImpl(int64_t dim, double eps);
  torch::Tensor forward(const torch::Tensor& input) const;

  torch::Tensor weight;  ///< [dim]

 private:
  double eps_;
};
TORCH_MODULE(RmsNorm);

/// SwiGLU: `w2(silu(w1 x) * w3 x)`, in training with dropout behind it. State keys: w1, w2, w3 (.weight).
class FeedForwardImpl : public torch::nn::Module {
 public:
  explicit FeedForwardImpl(const LmConfig& config);
  /// [..., D] → [..., D].
  torch::Tensor forward(const torch::Tensor& input) const;

  Linear w1 = nullptr;  ///< [inner, D]
  Linear w2 = nullptr;  ///< [D, inner]
  Linear w3 = nullptr;  ///< [inner, D]

 private:
  double dropout_;
};
TORCH_MODULE(FeedForward);

/// A module without parameters of its own that names its children 0, 1, 2, …: `layers.{i}`, `experts.{e}`.
template <class Holder>
class ModuleListImpl : public torch::nn::Module {
 public:
  void add(Holder module) { items_.push_back(register_module(std::to_string(items_.size()), std::move(module))); }
  std::vector<Holder>& items() { return items_; }
  const std::vector<Holder>& items() const { return items_; }

 private:
  std::vector<Holder> items_;
};

/// The tensor with each number dropped with this probability and the rest scaled up; the tensor itself unless training.
/// Draws from LibTorch's default generator, which the trainer seeds and keeps in its checkpoints.
torch::Tensor drop_out(const torch::Tensor& tensor, double probability, bool training);

/// Inside autocast, the tensor in autocast's dtype, so that several products share one cast; else the tensor itself.
torch::Tensor to_autocast_dtype(const torch::Tensor& tensor);

}  // namespace minimind
