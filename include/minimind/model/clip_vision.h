#pragma once

#include <torch/nn/module.h>

#include <array>

#include "minimind/model/config.h"

namespace minimind {

/// The vision half of CLIP, frozen: no parameter requires a gradient. SPEC.md section 2. State keys: `vision_model.*`
/// of the Hugging Face folder.
class ClipVisionImpl : public torch::nn::Module {
 public:
  explicit ClipVisionImpl(const ClipVisionConfig& config);
  /// pixel_values [N, 3, size, size] float → output of the last block, [N, P, W], before post_layernorm. No gradients.
  torch::Tensor forward(const torch::Tensor& pixel_values);
  /// pictures [N, 3, size, size] uint8 (as the loader gives them) → features; normalises on the module's device.
  torch::Tensor encode(const torch::Tensor& pictures);
  void set_normalisation(const std::array<float, 3>& mean, const std::array<float, 3>& std);
  const ClipVisionConfig& config() const { return config_; }

 private:
  ClipVisionConfig config_;
};
TORCH_MODULE(ClipVision);

}  // namespace minimind
