#include "minimind/model/vlm.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <cmath>
#include <string>

#include "minimind/base/error.h"
#include "model/image_splice.h"
#include "model/loss.h"

namespace minimind {

VlmImpl::VlmImpl(const LmConfig& config) : config_(config) {
  config_.validate();
  // The language model's parts are children of this module, so that the state keys carry no prefix.
  language_model_ = LanguageModel(config_);
  register_module("tok_embeddings", language_model_->tok_embeddings);
  register_module("layers", language_model_->layers);
  register_module("norm", language_model_->norm);
  projection_ = Linear(config_.vision_dim, config_.dim, /*with_bias=*/true);
  auto sequence = std::make_shared<torch::nn::Module>("Sequential");
  sequence->register_module("0", projection_);
  auto outer = std::make_shared<torch::nn::Module>("VisionProj");
  outer->register_module("vision_proj", std::move(sequence));
  register_module("vision_proj", std::move(outer));
}

torch::Tensor VlmImpl::embed(const VlmInput& input) {
  const at::Tensor embeddings = language_model_->embed(input.ids);
  at::Tensor vision_tokens;
  if (input.features.defined() && input.features.size(0) > 0) {
    require(input.features.dim() == 3 && input.features.size(2) == config_.vision_dim,
            "image features: expected [N, P, ", config_.vision_dim, "], found ", input.features.sizes(),
            "; does the CLIP folder belong to this model?");
    vision_tokens = projection_->forward(input.features.to(projection_->weight.scalar_type()));
  }
  return splice_images(embeddings, vision_tokens, input.spans);
}

torch::Tensor VlmImpl::hidden(const VlmInput& input) {
  return language_model_->forward(embed(input), LmPass{nullptr, {}, input.valid});
}

torch::Tensor VlmImpl::hidden_rows(const VlmInput& input, const torch::Tensor& flat_rows) {
  return language_model_->forward(embed(input), LmPass{nullptr, flat_rows, input.valid});
}

MaskedLoss VlmImpl::loss(const VlmInput& input, const torch::Tensor& targets, const torch::Tensor& mask) {
  const at::Tensor rows = supervised_rows(mask);
  return cross_entropy_of_rows(hidden_rows(input, rows), head_weight(), targets.flatten().index_select(0, rows));
}

torch::Tensor VlmImpl::logits(const torch::Tensor& hidden) {
  return language_model_->logits(hidden);
}

torch::Tensor VlmImpl::auxiliary_loss() const {
  return language_model_->auxiliary_loss();
}

torch::Tensor VlmImpl::expert_load() const {
  return language_model_->expert_load();
}

void initialise(VlmImpl& model, uint64_t seed, double initializer_range) {
  const at::NoGradGuard without_gradients;
  at::Generator generator = at::detail::createCPUGenerator(seed);
  const LmConfig& config = model.config();
  const double residual_spread = initializer_range / std::sqrt(2.0 * static_cast<double>(config.n_layers));
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
      values.normal_(0.0, residual_spread, generator);
    } else {
      values.normal_(0.0, initializer_range, generator);
    }
    named.value().copy_(values);
  }
}

}  // namespace minimind
