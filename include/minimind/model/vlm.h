#pragma once

#include <torch/nn/module.h>

#include <span>
#include <vector>

#include "minimind/base/image_span.h"
#include "minimind/model/config.h"
#include "minimind/model/language_model.h"

namespace minimind {

struct MaskedLoss;

/// One forward pass's input.
struct VlmInput {
  torch::Tensor ids;  ///< [B, S] int64
  torch::Tensor
      features;  ///< [N, P, W] features of the images, image k belongs to spans[k]; undefined if there is none
  std::vector<ImageSpan> spans;
  torch::Tensor valid;  ///< optional bool [B, S], false on padding, which the experts' auxiliary loss leaves out
};

/// The trained model: projection and language model. The frozen encoder (ClipVision) stands beside it. SPEC.md sections
/// 1 and 3. State keys: those of the released `.pth` files (vision_proj.vision_proj.0.*, tok_embeddings.weight,
/// layers.*, norm.weight; the tied output.weight is added when saving).
class VlmImpl : public torch::nn::Module {
 public:
  /// Matrices are zero until initialise() or a load fills them; norms are 1.
  explicit VlmImpl(const LmConfig& config);

  /// Final-norm output [B, S, D]; logits = hidden · embedding^T. Throws Error when images and spans do not match.
  torch::Tensor hidden(const VlmInput& input);
  /// hidden()'s rows at flat_rows (int64 [R], flat indices into B*S) → [R, D]. The last layer works on these rows alone
  /// (unless experts are trained: their auxiliary loss needs every token).
  torch::Tensor hidden_rows(const VlmInput& input, const torch::Tensor& flat_rows);
  /// The training loss: masked cross-entropy over the rows where mask [B, S] is not 0. targets [B, S] int64.
  MaskedLoss loss(const VlmInput& input, const torch::Tensor& targets, const torch::Tensor& mask);
  /// The tied output head: hidden [..., D] → [..., V].
  torch::Tensor logits(const torch::Tensor& hidden);
  /// Token embeddings with the images spliced in, [B, S, D].
  torch::Tensor embed(const VlmInput& input);
  /// Sum over layers of the experts' auxiliary loss of the last hidden() in training mode; undefined without experts.
  torch::Tensor auxiliary_loss() const;
  /// int64 [layers, experts]: how often each expert was chosen in the last pass; undefined without experts.
  torch::Tensor expert_load() const;

  const LmConfig& config() const { return config_; }
  LanguageModel language_model() const { return language_model_; }
  /// W → D with bias.
  Linear projection() const { return projection_; }
  /// The embedding matrix, which is the output head too: [V, D].
  const torch::Tensor& head_weight() const { return language_model_->tok_embeddings->weight; }

 private:
  LmConfig config_;
  LanguageModel language_model_ = nullptr;
  Linear projection_ = nullptr;
};
TORCH_MODULE(Vlm);

/// SPEC.md section 1, Initialisation: seeded, the same numbers for the same seed. `initializer_range` is the spread of
/// the normal weights.
void initialise(VlmImpl& model, uint64_t seed, double initializer_range = 0.02);

}  // namespace minimind
