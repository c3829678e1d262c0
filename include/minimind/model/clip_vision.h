#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include <array>
#include <filesystem>
#include <memory>

#include "minimind/model/config.h"
#include "minimind/model/layers.h"
#include "minimind/model/load_report.h"

namespace minimind {

/// How an encoder computes. Fixed when it is made.
struct ClipVisionOptions {
  /// One or two images at once use our own GEMM kernels if the processor has them: faster, but rounded differently than
  /// larger batches.
  bool small_gemm = false;
  /// Of the blocks' matrices: float32, or bfloat16, which takes half the memory and needs no cast for GEMMs in
  /// bfloat16.
  torch::Dtype dtype = torch::kFloat32;
  /// Gives back the memory of weights that lie in a mapped file after each use, block by block. Between batches they
  /// stay only in the system's page cache.
  bool release_pages = false;
  /// Images that go through the blocks together; empty ones fill up the last batch. GEMMs sum in an order that depends
  /// on their size: with a fixed batch an image's features on a CPU are bit-identical, whatever it is encoded with.
  /// 0: all images at once.
  int64_t encode_batch = 0;
  /// Per channel, of images scaled to [0, 1]; the defaults are CLIP's.
  std::array<float, 3> mean = {0.48145466F, 0.4578275F, 0.40821073F};
  std::array<float, 3> std = {0.26862954F, 0.26130258F, 0.27577711F};
};

/// `(x - mean) / sqrt(variance + eps) * weight + bias`. State keys: weight, bias.
class LayerNormImpl : public torch::nn::Module {
 public:
  LayerNormImpl(int64_t dim, double eps);
  /// [..., W] → [..., W].
  torch::Tensor forward(const torch::Tensor& input) const;

  torch::Tensor weight;  ///< [W]
  torch::Tensor bias;    ///< [W]

 private:
  double eps_;
};
TORCH_MODULE(LayerNorm);

/// One pre-norm block of the encoder. State keys: layer_norm1, layer_norm2, self_attn.{q,k,v,out}_proj, mlp.{fc1,fc2}.
class ClipBlockImpl : public torch::nn::Module {
 public:
  ClipBlockImpl(const ClipVisionConfig& config, const ClipVisionOptions& options);
  /// hidden [N, P, W] → [N, P, W].
  torch::Tensor forward(const torch::Tensor& hidden) const;

 private:
  torch::Tensor attend(const torch::Tensor& input) const;
  torch::Tensor multiply(const Linear& linear, const torch::Tensor& input) const;

  int64_t n_heads_;
  bool has_small_gemm_;
  LayerNorm layer_norm1_ = nullptr;
  LayerNorm layer_norm2_ = nullptr;
  Linear q_proj_ = nullptr;
  Linear k_proj_ = nullptr;
  Linear v_proj_ = nullptr;
  Linear out_proj_ = nullptr;
  Linear fc1_ = nullptr;
  Linear fc2_ = nullptr;
};
TORCH_MODULE(ClipBlock);

/// The vision half of CLIP, frozen: no parameter requires a gradient. SPEC.md section 2. State keys: `vision_model.*`
/// of the Hugging Face folder.
class ClipVisionImpl : public torch::nn::Module {
 public:
  /// Weights are zero until a load or initialise() fills them.
  explicit ClipVisionImpl(const ClipVisionConfig& config, const ClipVisionOptions& options = {});
  /// pixel_values float [N, 3, size, size] → output of the last block before post_layernorm, [N, P, W]. No gradients.
  /// Throws Error on images of another shape.
  torch::Tensor forward(const torch::Tensor& pixel_values);
  /// images uint8 [N, 3, size, size] → features [N, P, W]. Normalises on the module's device. Throws Error on images of
  /// another shape or dtype, and on a CPU if a feature is NaN or infinite.
  torch::Tensor encode(const torch::Tensor& images);
  /// Keeps matrices and their biases in this dtype, as autocast would cast them for each batch. Norms and position
  /// embeddings stay float32.
  void keep_matmul_weights_in(torch::Dtype dtype);
  const ClipVisionConfig& config() const { return config_; }

 private:
  torch::Tensor embed_patches(const torch::Tensor& pixel_values) const;

  ClipVisionConfig config_;
  ClipVisionOptions options_;
  torch::Tensor class_embedding_;     ///< [W]
  torch::Tensor patch_weight_;        ///< [W, 3, patch, patch]
  torch::Tensor position_embedding_;  ///< [P, W]
  torch::Tensor mean_;                ///< [3, 1, 1] of the channels
  torch::Tensor deviation_;           ///< [3, 1, 1]
  LayerNorm pre_layrnorm_ = nullptr;
  std::shared_ptr<ModuleListImpl<ClipBlock>> layers_;
};
TORCH_MODULE(ClipVision);

/// Loads the vision encoder of a Hugging Face CLIP folder, vision-only or full: config.json, mean, standard deviation
/// and size of preprocessor_config.json (CLIP's own if the file is missing), and the weights. Skips the text tower and
/// other known leftovers. map_weights: as in LoadOptions. The folder's mean and standard deviation replace those of
/// `options`. Throws Error if a file is missing or does not fit.
ClipVision load_clip_vision(const std::filesystem::path& clip_dir, LoadReport* report = nullptr,
                            bool map_weights = false, ClipVisionOptions options = {});

}  // namespace minimind
