#pragma once

#include <torch/nn/module.h>

#include <span>
#include <vector>

#include "minimind/base/image_slot.h"
#include "minimind/model/config.h"
#include "minimind/model/language_model.h"

namespace minimind {

/// One forward pass's input.
struct VlmInput {
  torch::Tensor ids;  ///< [B, S] int64
  torch::Tensor
      features;  ///< [N, P, W] features of the pictures, picture k belongs to slots[k]; undefined if there is none
  std::vector<ImageSlot> slots;
};

/// The trained model: projection and language model. The frozen encoder (ClipVision) stands beside it. SPEC.md sections
/// 1 and 3. State keys: those of the released `.pth` files (vision_proj.vision_proj.0.*, tok_embeddings.weight,
/// layers.*, norm.weight; the tied output.weight is added when saving).
class VlmImpl : public torch::nn::Module {
 public:
  explicit VlmImpl(const LmConfig& config);

  /// Final-norm output [B, S, D]; logits = hidden · embedding^T. Throws Error when pictures and slots do not match.
  torch::Tensor hidden(const VlmInput& input);
  /// The tied output head: hidden [..., D] → [..., V].
  torch::Tensor logits(const torch::Tensor& hidden);
  /// Token embeddings with the pictures spliced in, [B, S, D].
  torch::Tensor embed(const VlmInput& input);
  /// Sum over layers of the experts' auxiliary loss of the last hidden() in training mode; undefined without experts.
  torch::Tensor auxiliary_loss() const;

  const LmConfig& config() const { return config_; }
  LanguageModel language_model() const { return language_model_; }

 private:
  LmConfig config_;
  LanguageModel language_model_ = nullptr;
  torch::nn::Linear projection_ = nullptr;
};
TORCH_MODULE(Vlm);

/// SPEC.md section 1, Initialisation: seeded, the same numbers for the same seed.
void initialise(VlmImpl& model, uint64_t seed);

/// Slots of every row of ids [B, S] in row order, found by the pattern; for callers that did not build the batch
/// themselves.
std::vector<ImageSlot> find_slots(const torch::Tensor& ids, std::span<const TokenId> pattern);

}  // namespace minimind
