#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include <memory>
#include <vector>

#include "minimind/model/config.h"
#include "minimind/model/layers.h"

namespace minimind {

/// Mixture of experts in place of a feed-forward: the sum of the top k experts of each token, weighted by their scores,
/// plus the shared expert. State keys: experts.{e}.{w1,w2,w3}, gate.weight, shared_experts.{w1,w2,w3}. SPEC.md
/// section 1.
class MoeFeedForwardImpl : public torch::nn::Module {
 public:
  explicit MoeFeedForwardImpl(const LmConfig& config);
  /// input [B, S, D], or [R, D] in eval mode → the same shape. valid (bool [B, S] or [R]; may be undefined): false on
  /// padding, which counts neither in the auxiliary loss nor in the load.
  torch::Tensor forward(const torch::Tensor& input, const torch::Tensor& valid = {});

  /// Auxiliary loss of the last forward in training mode, times aux_loss_alpha: float32 scalar. Undefined before, and
  /// after a forward in eval mode.
  const torch::Tensor& auxiliary_loss() const { return auxiliary_loss_; }
  /// How often the last forward chose each expert, without padding: int64 [E].
  const torch::Tensor& expert_load() const { return expert_load_; }

 private:
  torch::Tensor run_experts(const torch::Tensor& tokens, const torch::Tensor& chosen, const torch::Tensor& weights);
  /// For a GPU: how many tokens an expert has is known there alone, and the host would wait for it in each layer. Each
  /// expert runs on all tokens; those that did not choose it are zeros. choices, weights: [tokens, E].
  torch::Tensor run_all_experts(const torch::Tensor& tokens, const torch::Tensor& choices,
                                const torch::Tensor& weights);
  torch::Tensor balance_loss(const torch::Tensor& scores, const torch::Tensor& choices, const torch::Tensor& valid,
                             const torch::Tensor& input) const;

  LmConfig config_;
  std::shared_ptr<ModuleListImpl<FeedForward>> experts_;
  torch::Tensor gate_weight_;  ///< [E, D]: the router scores every expert for every token
  FeedForward shared_experts_ = nullptr;
  torch::Tensor auxiliary_loss_;
  torch::Tensor expert_load_;
};
TORCH_MODULE(MoeFeedForward);

}  // namespace minimind
