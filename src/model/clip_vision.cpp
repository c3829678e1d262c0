#include "minimind/model/clip_vision.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <vector>

#include "io/mapped_pages.h"
#include "minimind/base/error.h"
#include "model/all_finite.h"
#include "model/few_rows.h"
#include "model/row_passes.h"
#include "model/skip_init.h"

namespace minimind {

namespace {

std::shared_ptr<torch::nn::Module> named_group(const char* name) {
  return std::make_shared<torch::nn::Module>(name);
}

at::Tensor channel_constants(const std::array<float, 3>& values) {
  return at::tensor(at::ArrayRef<float>(values)).view({3, 1, 1});
}

void apply_quick_gelu(at::Tensor& inner) {
  const auto type = inner.scalar_type();
  if (inner.is_cpu() && inner.is_contiguous() && (type == at::kFloat || type == at::kBFloat16)) {
    detail::quick_gelu_rows(inner);
  } else {
    inner.mul_(at::sigmoid(inner * 1.702));
  }
}

/// Images [first, first + count) of [N, ...]; what lies beyond the last one is zero.
at::Tensor group_of(const at::Tensor& images, int64_t first, int64_t count) {
  const int64_t held = std::min(count, images.size(0) - first);
  const at::Tensor part = images.narrow(0, first, held);
  if (held == count) {
    return part;
  }
  std::vector<int64_t> sizes = images.sizes().vec();
  sizes[0] = count - held;
  return at::cat({part, at::zeros(sizes, images.options())});
}

void release_pages(const torch::nn::Module& part) {
  for (const at::Tensor& weight : part.parameters()) {
    release_mapped_pages(weight);
  }
}

}  // namespace

LayerNormImpl::LayerNormImpl(int64_t dim, double eps) : eps_(eps) {
  weight = register_parameter("weight", at::ones({dim}));
  bias = register_parameter("bias", at::zeros({dim}));
}

torch::Tensor LayerNormImpl::forward(const torch::Tensor& input) const {
  return at::layer_norm(input, weight.sizes(), weight, bias, eps_);
}

ClipBlockImpl::ClipBlockImpl(const ClipVisionConfig& config) : n_heads_(config.num_attention_heads) {
  const int64_t width = config.hidden_size;
  layer_norm1_ = register_module("layer_norm1", LayerNorm(width, config.layer_norm_eps));
  layer_norm2_ = register_module("layer_norm2", LayerNorm(width, config.layer_norm_eps));
  auto attention = register_module("self_attn", named_group("self_attn"));
  k_proj_ = attention->register_module("k_proj", Linear(width, width, /*with_bias=*/true));
  v_proj_ = attention->register_module("v_proj", Linear(width, width, /*with_bias=*/true));
  q_proj_ = attention->register_module("q_proj", Linear(width, width, /*with_bias=*/true));
  out_proj_ = attention->register_module("out_proj", Linear(width, width, /*with_bias=*/true));
  auto mlp = register_module("mlp", named_group("mlp"));
  fc1_ = mlp->register_module("fc1", Linear(width, config.intermediate_size, /*with_bias=*/true));
  fc2_ = mlp->register_module("fc2", Linear(config.intermediate_size, width, /*with_bias=*/true));
}

at::Tensor ClipBlockImpl::product(const Linear& linear, const at::Tensor& input) const {
  if (has_row_kernels_ && few_rows_serve(input, linear->weight)) {
    return few_rows_product(input, linear->weight, linear->bias);
  }
  const bool is_narrow = linear->weight.scalar_type() == at::kBFloat16 && input.scalar_type() == at::kFloat;
  if (is_narrow && has_bfloat16_products()) {
    return at::linear(input.to(at::kBFloat16), linear->weight).to(at::kFloat).add_(linear->bias);
  }
  return is_narrow ? at::linear(input, linear->weight.to(at::kFloat), linear->bias) : linear->forward(input);
}

torch::Tensor ClipBlockImpl::attend(const torch::Tensor& input) const {
  const int64_t batch = input.size(0), tokens = input.size(1), width = input.size(2);
  const auto split = [&](const at::Tensor& heads) {
    return heads.view({batch, tokens, n_heads_, width / n_heads_}).transpose(1, 2);
  };
  const at::Tensor mixed = at::scaled_dot_product_attention(
      split(product(q_proj_, input)), split(product(k_proj_, input)), split(product(v_proj_, input)));
  return product(out_proj_, mixed.transpose(1, 2).reshape({batch, tokens, width}));
}

torch::Tensor ClipBlockImpl::forward(const torch::Tensor& hidden) const {
  const at::Tensor attended = hidden + attend(to_autocast_dtype(layer_norm1_->forward(hidden)));
  at::Tensor inner = product(fc1_, to_autocast_dtype(layer_norm2_->forward(attended)));
  apply_quick_gelu(inner);
  return attended + product(fc2_, inner);
}

void ClipBlockImpl::narrow_matrices() {
  for (const Linear& linear : {q_proj_, k_proj_, v_proj_, out_proj_, fc1_, fc2_}) {
    const at::Tensor wide = linear->weight.detach();
    linear->weight.set_data(wide.to(at::kBFloat16));
    release_mapped_pages(wide);
  }
}

ClipVisionImpl::ClipVisionImpl(const ClipVisionConfig& config) : config_(config) {
  config_.validate();
  const int64_t width = config_.hidden_size;
  auto model = register_module("vision_model", named_group("vision_model"));
  auto embeddings = model->register_module("embeddings", named_group("embeddings"));
  class_embedding_ = embeddings->register_parameter("class_embedding", at::zeros({width}));
  auto patch = embeddings->register_module("patch_embedding", named_group("patch_embedding"));
  patch_weight_ = patch->register_parameter("weight", new_weights({width, 3, config_.patch_size, config_.patch_size}));
  auto position = embeddings->register_module("position_embedding", named_group("position_embedding"));
  position_embedding_ = position->register_parameter("weight", at::zeros({config_.tokens(), width}));
  pre_layrnorm_ = model->register_module("pre_layrnorm", LayerNorm(width, config_.layer_norm_eps));
  auto encoder = model->register_module("encoder", named_group("encoder"));
  layers_ = encoder->register_module("layers", std::make_shared<ModuleListImpl<ClipBlock>>());
  for (int64_t layer = 0; layer < config_.num_hidden_layers; ++layer) {
    layers_->add(ClipBlock(config_));
  }
  for (at::Tensor& parameter : parameters()) {
    parameter.requires_grad_(false);
  }
  set_normalisation({0.48145466f, 0.4578275f, 0.40821073f}, {0.26862954f, 0.26130258f, 0.27577711f});
  eval();
}

void ClipVisionImpl::use_row_kernels() {
  for (ClipBlock& layer : layers_->items()) {
    layer->use_row_kernels();
  }
}

void ClipVisionImpl::narrow_matrices() {
  const at::NoGradGuard without_gradients;
  std::vector<at::Tensor> mapped;
  for (at::Tensor& parameter : parameters()) {
    if (!is_mapped(parameter)) {
      continue;
    }
    mapped.push_back(parameter.detach());
    if (parameter.dim() == 1) {
      // Biases and norms lie between the matrices: the system reads much of its surroundings with a page of theirs.
      parameter.set_data(mapped.back().clone());
    }
  }
  for (ClipBlock& layer : layers_->items()) {
    layer->narrow_matrices();
  }
  for (const at::Tensor& tensor : mapped) {
    release_mapped_pages(tensor);
  }
}

void ClipVisionImpl::set_normalisation(const std::array<float, 3>& mean, const std::array<float, 3>& std) {
  mean_ = channel_constants(mean);
  std_ = channel_constants(std);
}

torch::Tensor ClipVisionImpl::embed_patches(const torch::Tensor& pixel_values) const {
  // Patches do not overlap: the convolution is one product of unfolded patches.
  const int64_t count = pixel_values.size(0), patch = config_.patch_size, side = config_.image_size / patch;
  const at::Tensor unfolded = pixel_values.view({count, 3, side, patch, side, patch})
                                  .permute({0, 2, 4, 1, 3, 5})
                                  .reshape({count, side * side, 3 * patch * patch});
  const at::Tensor patches = at::linear(unfolded, patch_weight_.flatten(1));
  const at::Tensor first = class_embedding_.to(patches.scalar_type()).expand({count, 1, config_.hidden_size});
  return at::cat({first, patches}, 1) + position_embedding_;  // [N, P, W]
}

torch::Tensor ClipVisionImpl::forward(const torch::Tensor& pixel_values) {
  const at::NoGradGuard without_gradients;
  require(pixel_values.dim() == 4 && pixel_values.size(1) == 3 && pixel_values.size(2) == config_.image_size &&
              pixel_values.size(3) == config_.image_size,
          "vision encoder: expected images [N, 3, ", config_.image_size, ", ", config_.image_size, "], found ",
          pixel_values.sizes());
  const int64_t count = pixel_values.size(0), group = group_ > 0 ? group_ : count;
  std::vector<at::Tensor> groups;
  for (int64_t first = 0; first == 0 || first < count; first += group) {
    const at::Tensor pixels = group_of(pixel_values, first, group).to(patch_weight_.options()).contiguous();
    groups.push_back(pre_layrnorm_->forward(embed_patches(pixels)));
  }
  // Block by block, so that its weights are fetched once for all groups.
  for (const ClipBlock& layer : layers_->items()) {
    for (at::Tensor& hidden : groups) {
      hidden = layer->forward(hidden);
    }
    if (releases_) {
      release_pages(*layer);
    }
  }
  if (releases_) {
    release_pages(*pre_layrnorm_);
    release_mapped_pages(patch_weight_);
    release_mapped_pages(position_embedding_);
  }
  return groups.size() == 1 && group == count ? groups[0] : at::cat(groups).narrow(0, 0, count);
}

torch::Tensor ClipVisionImpl::encode(const torch::Tensor& images) {
  const at::NoGradGuard without_gradients;
  require(images.scalar_type() == at::kByte && images.dim() == 4,
          "vision encoder: expected uint8 images [N, 3, H, W], found ", images.scalar_type(), " ", images.sizes());
  const auto device = patch_weight_.device();
  const at::Tensor scaled = images.to(device).to(at::kFloat).div_(255.0);
  const at::Tensor features = forward(scaled.sub_(mean_.to(device)).div_(std_.to(device)));
  require(!features.is_cpu() || detail::all_finite(features),
          "vision encoder: expected numbers, found NaN or infinity; are the weights in --clip_dir damaged?");
  return features;
}

}  // namespace minimind
