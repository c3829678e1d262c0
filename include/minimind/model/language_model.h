#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include <memory>
#include <vector>

#include "minimind/model/config.h"
#include "minimind/model/layers.h"
#include "minimind/model/moe.h"

namespace minimind {

/// Keys and values of all layers of a generation. All layers have the same length.
struct KvCache {
  std::vector<LayerCache> layers;

  /// Positions that are filled.
  int64_t length() const { return layers.empty() ? 0 : layers.front().length; }
  /// Positions that fit.
  int64_t capacity() const { return layers.empty() ? 0 : layers.front().keys.size(2); }
  /// Forgets all positions from `length` on; 0 empties the cache. Keeps the memory.
  void truncate(int64_t length);
};

/// An empty cache for B = `batch` sequences of at most `capacity` positions.
KvCache make_cache(const LmConfig& config, int64_t batch, int64_t capacity, torch::Dtype dtype = torch::kFloat32,
                   const torch::Device& device = torch::kCPU);

/// Optional inputs of a pass over the layers.
struct LmPass {
  KvCache* cache = nullptr;  ///< positions start at its length, and it grows by S; such a pass has no gradients
  torch::Tensor rows;        ///< int64 [R], flat indices into B*S: rows to return; undefined: all
  torch::Tensor valid;       ///< bool [B, S], false on padding: for the experts' auxiliary loss; undefined: all true
};

/// One layer. State keys: attention, attention_norm, ffn_norm, feed_forward.
class BlockImpl : public torch::nn::Module {
 public:
  explicit BlockImpl(const LmConfig& config);
  /// hidden [B, S, D], rotations complex64 [S, d/2] → [B, S, D], or [R, D] if rows (int64 [R]) are given.
  torch::Tensor forward(const torch::Tensor& hidden, const torch::Tensor& rotations, LayerCache* cache,
                        const torch::Tensor& rows, const torch::Tensor& valid);

  Attention attention = nullptr;
  RmsNorm attention_norm = nullptr;
  RmsNorm ffn_norm = nullptr;
  FeedForward feed_forward = nullptr;  ///< null with experts
  MoeFeedForward experts = nullptr;    ///< null without experts; its state key is feed_forward too
};
TORCH_MODULE(Block);

/// MiniMind: decoder-only, pre-norm, output head tied to the embedding. SPEC.md section 1.
class LanguageModelImpl : public torch::nn::Module {
 public:
  /// Matrices are zero until initialise() or a load fills them; norms are 1.
  explicit LanguageModelImpl(const LmConfig& config);

  /// ids int64 [B, S] → [B, S, D]. Throws Error if an id is outside the vocabulary; checks this on a CPU only.
  torch::Tensor embed(const torch::Tensor& ids) const;
  /// embeddings [B, S, D] → final-norm output [B, S, D], or [R, D] with pass.rows.
  torch::Tensor forward(const torch::Tensor& embeddings, const LmPass& pass = {});
  /// hidden [..., D] → [..., V].
  torch::Tensor logits(const torch::Tensor& hidden) const;

  /// Sum over layers of the experts' auxiliary loss of the last pass in training mode; undefined without experts.
  torch::Tensor auxiliary_loss() const;
  /// int64 [layers, E]: how often the last pass chose each expert; undefined without experts.
  torch::Tensor expert_load() const;

  const LmConfig& config() const { return config_; }
  /// The embedding matrix, which is the output head too: [V, D].
  const torch::Tensor& head_weight() const { return tok_embeddings->weight; }

  Embedding tok_embeddings = nullptr;
  std::shared_ptr<ModuleListImpl<Block>> layers;
  RmsNorm norm = nullptr;

 private:
  torch::Tensor rotations(int64_t start, int64_t count, const torch::Device& device);

  LmConfig config_;
  torch::Tensor rotations_;  ///< of the positions from 0 on; grows when a longer sequence comes
};
TORCH_MODULE(LanguageModel);

/// Cross-entropies of supervised tokens. Sum and count are apart, so that micro-batches and ranks can be averaged over
/// tokens.
struct MaskedLoss {
  at::Tensor sum;     ///< float32 scalar, carries the gradient
  int64_t count = 0;  ///< supervised tokens, including those with target 0
};

/// Flat indices into B*S, ascending, where mask [B, S] (bool or any number) is not 0: int64 [R], on the mask's device.
at::Tensor supervised_rows(const at::Tensor& mask);

/// Most logits that the loss holds at a time.
constexpr int64_t kLogitsAtOnce = int64_t{1} << 24;

/// hidden_rows [R, D], head_weight [V, D], targets int64 [R]. A target of 0 adds nothing to the sum but counts.
/// Computes chunks of at most logits_at_once logits (at least one row), and with gradients also their gradients. Throws
/// Error if rows and targets differ in number.
MaskedLoss cross_entropy_of_rows(const at::Tensor& hidden_rows, const at::Tensor& head_weight,
                                 const at::Tensor& targets, int64_t logits_at_once = kLogitsAtOnce);

}  // namespace minimind
