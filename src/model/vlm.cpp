#include "minimind/model/vlm.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <cmath>
#include <memory>
#include <string>
#include <utility>

#include "minimind/base/error.h"
#include "model/image_splice.h"

namespace minimind {

VlmImpl::VlmImpl(const LmConfig& config) : LanguageModelImpl(config) {
  projection_ = Linear(config.vision_dim, config.dim, /*with_bias=*/true);
  auto sequence = std::make_shared<torch::nn::Module>("Sequential");
  sequence->register_module("0", projection_);
  auto outer = std::make_shared<torch::nn::Module>("VisionProj");
  outer->register_module("vision_proj", std::move(sequence));
  register_module("vision_proj", std::move(outer));
}

torch::Tensor VlmImpl::embed(const VlmInput& input) {
  at::Tensor vision_tokens;
  if (input.features.defined() && input.features.size(0) > 0) {
    const int64_t width = config().vision_dim;
    require(input.features.dim() == 3 && input.features.size(2) == width, "image features: expected [N, P, ", width,
            "], found ", input.features.sizes(), "; does the CLIP folder belong to this model?");
    vision_tokens = projection_->forward(input.features.to(projection_->weight.scalar_type()));
  }
  return splice_images(embed(input.ids), vision_tokens, input.spans);
}

torch::Tensor VlmImpl::hidden(const VlmInput& input) {
  return forward(embed(input), {.cache = nullptr, .rows = {}, .valid = input.valid});
}

torch::Tensor VlmImpl::hidden_rows(const VlmInput& input, const torch::Tensor& flat_rows) {
  return forward(embed(input), {.cache = nullptr, .rows = flat_rows, .valid = input.valid});
}

void initialise(VlmImpl& model, uint64_t seed, double initializer_range) {
  const at::NoGradGuard without_gradients;
  at::Generator generator = at::detail::createCPUGenerator(seed);
  const LmConfig& config = model.config();
  const double residual_std = initializer_range / std::sqrt(2.0 * static_cast<double>(config.n_layers));
  for (auto& named : model.named_parameters()) {
    const std::string& name = named.key();
    at::Tensor values = at::empty(named.value().sizes(), at::kFloat);
    if (name.find("norm.weight") != std::string::npos) {
      values.fill_(1.0);
    } else if (name.starts_with("vision_proj.")) {
      const double bound = 1.0 / std::sqrt(static_cast<double>(config.vision_dim));
      values.uniform_(-bound, bound, generator);
    } else if (name.ends_with(".gate.weight")) {
      const double bound = 1.0 / std::sqrt(static_cast<double>(config.dim));
      values.uniform_(-bound, bound, generator);
    } else if (name.ends_with(".w3.weight") || name.ends_with(".wo.weight")) {
      values.normal_(0.0, residual_std, generator);
    } else {
      values.normal_(0.0, initializer_range, generator);
    }
    named.value().copy_(values);
  }
}

}  // namespace minimind
