#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include <memory>
#include <vector>

#include "minimind/model/attention.h"
#include "minimind/model/config.h"
#include "minimind/model/layers.h"
#include "minimind/model/moe.h"
#include "minimind/model/rope.h"

namespace minimind {

/// Keys and values of all layers of a generation. All layers have the same length.
struct KvCache {
  std::vector<LayerCache> layers;

  /// Tokens held.
  int64_t length() const { return layers.empty() ? 0 : layers.front().length; }
  /// Tokens that fit.
  int64_t capacity() const { return layers.empty() ? 0 : layers.front().keys.size(2); }
  /// Forgets all tokens from `length` on: 0 for a new prompt. Memory is kept.
  void truncate(int64_t length);
};

/// An empty cache of fixed size; `batch` rows of at most `max_tokens` positions.
KvCache make_cache(const LmConfig& config, int64_t batch, int64_t max_tokens, torch::Dtype dtype = torch::kFloat32,
                   const torch::Device& device = torch::kCPU);

/// What a pass over the layers may be told beside the embeddings.
struct LmPass {
  KvCache* cache = nullptr;  ///< positions start at its length, and it grows by S; such a pass has no gradients
  torch::Tensor rows;        ///< int64 [R], flat indices into B*S: only these rows come out; undefined: all
  torch::Tensor valid;       ///< bool [B, S], false on padding: for the experts' auxiliary loss; undefined: all true
};

/// One layer. State keys: attention, attention_norm, ffn_norm, feed_forward.
class BlockImpl : public torch::nn::Module {
 public:
  explicit BlockImpl(const LmConfig& config);
  /// hidden [B, S, D] → [B, S, D], or [R, D] if pass.rows is given.
  torch::Tensor forward(const torch::Tensor& hidden, const RopeSlice& rope, LayerCache* cache,
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
  explicit LanguageModelImpl(const LmConfig& config);

  /// ids [B, S] int64 → [B, S, D]. Throws Error on an id outside the vocabulary (checked on the CPU only).
  torch::Tensor embed(const torch::Tensor& ids) const;
  /// embeddings [B, S, D] → final-norm output [B, S, D], or [R, D] with pass.rows.
  torch::Tensor forward(const torch::Tensor& embeddings, const LmPass& pass);
  /// The same for generation: positions start at cache->length() (at 0 without a cache).
  torch::Tensor forward(const torch::Tensor& embeddings, KvCache* cache = nullptr);
  /// hidden [..., D] → [..., V].
  torch::Tensor logits(const torch::Tensor& hidden) const;

  /// Sum over layers of the experts' auxiliary loss of the last pass in training mode; undefined without experts.
  torch::Tensor auxiliary_loss() const;
  /// int64 [layers, experts]: how often each expert was chosen in the last pass; undefined without experts.
  torch::Tensor expert_load() const;

  const LmConfig& config() const { return config_; }

  Embedding tok_embeddings = nullptr;
  std::shared_ptr<ModuleListImpl<Block>> layers;
  RmsNorm norm = nullptr;

 private:
  LmConfig config_;
  RopeTable rope_;
};
TORCH_MODULE(LanguageModel);

}  // namespace minimind
