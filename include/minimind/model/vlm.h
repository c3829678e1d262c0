#pragma once

#include <torch/nn/module.h>

#include <vector>

#include "minimind/base/image_span.h"
#include "minimind/model/config.h"
#include "minimind/model/language_model.h"

namespace minimind {

/// Input of one forward pass.
struct VlmInput {
  torch::Tensor ids;             ///< int64 [B, S]
  torch::Tensor features;        ///< image features [N, P, W]; undefined without images
  std::vector<ImageSpan> spans;  ///< spans[k] is the place of image k
  torch::Tensor valid;           ///< optional bool [B, S]: false on padding, which the experts' auxiliary loss skips
};

/// The trained model: the language model and the projection of image features. The frozen encoder (ClipVision) is
/// apart. SPEC.md sections 1 and 3. State keys: those of the released `.pth` files (vision_proj.vision_proj.0.*,
/// tok_embeddings.weight, layers.*, norm.weight; saving adds the tied output.weight).
class VlmImpl : public LanguageModelImpl {
 public:
  explicit VlmImpl(const LmConfig& config);

  using LanguageModelImpl::embed;
  /// Token embeddings with the images spliced in: [B, S, D]. Throws Error if images and spans do not match.
  torch::Tensor embed(const VlmInput& input);
  /// Final-norm output [B, S, D]. Throws Error if images and spans do not match.
  torch::Tensor hidden(const VlmInput& input);
  /// hidden()'s rows at flat_rows (int64 [R], flat indices into B*S) → [R, D]. The last layer computes these rows only,
  /// unless experts are trained: their auxiliary loss needs every token.
  torch::Tensor hidden_rows(const VlmInput& input, const torch::Tensor& flat_rows);

  /// W → D with bias.
  Linear projection() const { return projection_; }

 private:
  Linear projection_ = nullptr;
};
TORCH_MODULE(Vlm);

/// Seeded initialisation (SPEC.md section 1): equal seeds give equal weights. `initializer_range` is the standard
/// deviation of the normal weights.
void initialise(VlmImpl& model, uint64_t seed, double initializer_range = 0.02);

}  // namespace minimind
