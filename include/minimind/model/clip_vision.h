#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include <array>
#include <memory>

#include "minimind/model/config.h"
#include "minimind/model/layers.h"

namespace minimind {

/// `(x - mean) / sqrt(variance + eps) * weight + bias`. State keys: weight, bias.
class LayerNormImpl : public torch::nn::Module {
 public:
  LayerNormImpl(int64_t dim, double eps);
  torch::Tensor forward(const torch::Tensor& input) const;

  torch::Tensor weight;  ///< [dim]
  torch::Tensor bias;    ///< [dim]

 private:
  double eps_;
};
TORCH_MODULE(LayerNorm);

/// One pre-norm block of the encoder. State keys: layer_norm1, layer_norm2, self_attn.{q,k,v,out}_proj, mlp.{fc1,fc2}.
class ClipBlockImpl : public torch::nn::Module {
 public:
  explicit ClipBlockImpl(const ClipVisionConfig& config);
  /// hidden [N, P, W] → the same shape.
  torch::Tensor forward(const torch::Tensor& hidden) const;
  /// As in ClipVision, for this block.
  void use_row_kernels() { has_row_kernels_ = true; }
  void narrow_matrices();

 private:
  torch::Tensor attend(const torch::Tensor& input) const;
  torch::Tensor product(const Linear& linear, const torch::Tensor& input) const;

  int64_t n_heads_;
  bool has_row_kernels_ = false;
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
  explicit ClipVisionImpl(const ClipVisionConfig& config);
  /// pixel_values [N, 3, size, size] float → output of the last block, [N, P, W], before post_layernorm. No gradients.
  torch::Tensor forward(const torch::Tensor& pixel_values);
  /// images [N, 3, size, size] uint8 (as the loader gives them) → features; normalises on the module's device.
  torch::Tensor encode(const torch::Tensor& images);
  /// From now on one or two images at once go through our own kernels where the processor has them (few_rows.h):
  /// other roundings than a larger batch's.
  void use_row_kernels();
  /// From now on the blocks' matrices are kept in bfloat16: half the memory, and nothing to convert for products in it.
  /// A later load rounds to it as well.
  void narrow_matrices();
  /// From now on the memory of weights that lie in a mapped file is given back after each use, block by block: between
  /// batches they stay in the system's page cache alone.
  void release_after_use() { releases_ = true; }
  /// From now on `images` at a time go through the blocks, a last group filled up with empty ones, so that a
  /// image's output is the same, bit for bit on a CPU, whatever it is encoded with: products sum in an order that
  /// depends on their size. 0 (the start): all at once.
  void encode_in_groups(int64_t images) { group_ = images; }
  /// Per-channel mean and standard deviation of images scaled to [0, 1]; those of CLIP are the default.
  void set_normalisation(const std::array<float, 3>& mean, const std::array<float, 3>& std);
  const ClipVisionConfig& config() const { return config_; }

 private:
  torch::Tensor embed_patches(const torch::Tensor& pixel_values) const;

  ClipVisionConfig config_;
  torch::Tensor class_embedding_;     ///< [W]
  torch::Tensor patch_weight_;        ///< [W, 3, patch, patch]
  torch::Tensor position_embedding_;  ///< [P, W]
  LayerNorm pre_layrnorm_ = nullptr;
  std::shared_ptr<ModuleListImpl<ClipBlock>> layers_;
  bool releases_ = false;
  int64_t group_ = 0;
  torch::Tensor mean_;  ///< [3, 1, 1] on the CPU; not part of the state dict
  torch::Tensor std_;   ///< the same
};
TORCH_MODULE(ClipVision);

}  // namespace minimind
