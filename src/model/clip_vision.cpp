#include "minimind/model/clip_vision.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <vector>

#include "io/mapped_pages.h"
#include "minimind/base/error.h"
#include "model/all_finite.h"
#include "model/bfloat16_products.h"
#include "model/device_copy.h"
#include "model/ops/activations.h"
#include "model/skip_init.h"
#include "model/small_gemm.h"

namespace minimind {

namespace {

std::shared_ptr<torch::nn::Module> named_module(const char* name) {
  return std::make_shared<torch::nn::Module>(name);
}

/// [3, 1, 1] on the CPU.
at::Tensor channel_values(const std::array<float, 3>& values) {
  return at::tensor(at::ArrayRef<float>(values)).view({3, 1, 1});
}

/// Images [first, first + count) of [N, ...]; zeros beyond the last image.
at::Tensor batch_of(const at::Tensor& images, int64_t first, int64_t count) {
  const int64_t present = std::min(count, images.size(0) - first);
  const at::Tensor part = images.narrow(0, first, present);
  if (present == count) {
    return part;
  }
  std::vector<int64_t> sizes = images.sizes().vec();
  sizes[0] = count - present;
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

ClipBlockImpl::ClipBlockImpl(const ClipVisionConfig& config, const ClipVisionOptions& options)
    : n_heads_(config.num_attention_heads), has_small_gemm_(options.small_gemm) {
  const int64_t width = config.hidden_size, inner = config.intermediate_size;
  const auto linear = [&](int64_t in, int64_t out) { return Linear(in, out, /*with_bias=*/true, options.dtype); };
  layer_norm1_ = register_module("layer_norm1", LayerNorm(width, config.layer_norm_eps));
  layer_norm2_ = register_module("layer_norm2", LayerNorm(width, config.layer_norm_eps));
  auto attention = register_module("self_attn", named_module("self_attn"));
  k_proj_ = attention->register_module("k_proj", linear(width, width));
  v_proj_ = attention->register_module("v_proj", linear(width, width));
  q_proj_ = attention->register_module("q_proj", linear(width, width));
  out_proj_ = attention->register_module("out_proj", linear(width, width));
  auto mlp = register_module("mlp", named_module("mlp"));
  fc1_ = mlp->register_module("fc1", linear(width, inner));
  fc2_ = mlp->register_module("fc2", linear(inner, width));
}

at::Tensor ClipBlockImpl::multiply(const Linear& linear, const at::Tensor& input) const {
  const at::Tensor& weight = linear->weight;
  const bool is_narrow = weight.scalar_type() == at::kBFloat16;
  if (has_small_gemm_ && small_gemm_serves(input, weight)) {
    return small_gemm(input, weight, linear->bias,
                      gemm_kernels(is_narrow ? WeightFormat::kBFloat16 : WeightFormat::kFloat32));
  }
  if (!is_narrow || input.scalar_type() != at::kFloat) {
    return linear->forward(input);
  }
  if (bfloat16_products().in_large_gemms) {
    return at::linear(input.to(at::kBFloat16), weight).to(at::kFloat).add_(linear->bias);
  }
  // Widening a whole matrix would cost a fifth of the product.
  return has_vector_kernels() ? small_gemm(input, weight, linear->bias, gemm_kernels(WeightFormat::kBFloat16))
                              : at::linear(input, weight.to(at::kFloat), linear->bias);
}

torch::Tensor ClipBlockImpl::attend(const torch::Tensor& input) const {
  const int64_t batch = input.size(0), tokens = input.size(1), width = input.size(2);
  const auto split = [&](const at::Tensor& heads) {
    return heads.view({batch, tokens, n_heads_, width / n_heads_}).transpose(1, 2);
  };
  const at::Tensor output = at::scaled_dot_product_attention(
      split(multiply(q_proj_, input)), split(multiply(k_proj_, input)), split(multiply(v_proj_, input)));
  return multiply(out_proj_, output.transpose(1, 2).reshape({batch, tokens, width}));
}

torch::Tensor ClipBlockImpl::forward(const torch::Tensor& hidden) const {
  const at::Tensor attended = hidden + attend(to_autocast_dtype(layer_norm1_->forward(hidden)));
  const at::Tensor inner = multiply(fc1_, to_autocast_dtype(layer_norm2_->forward(attended)));
  quick_gelu_(inner);
  return attended + multiply(fc2_, inner);
}

ClipVisionImpl::ClipVisionImpl(const ClipVisionConfig& config, const ClipVisionOptions& options)
    : config_(config), options_(options) {
  config_.validate();
  const int64_t width = config_.hidden_size;
  auto model = register_module("vision_model", named_module("vision_model"));
  auto embeddings = model->register_module("embeddings", named_module("embeddings"));
  class_embedding_ = embeddings->register_parameter("class_embedding", at::zeros({width}));
  auto patch = embeddings->register_module("patch_embedding", named_module("patch_embedding"));
  patch_weight_ = patch->register_parameter("weight", new_weights({width, 3, config_.patch_size, config_.patch_size}));
  auto position = embeddings->register_module("position_embedding", named_module("position_embedding"));
  position_embedding_ = position->register_parameter("weight", at::zeros({config_.tokens(), width}));
  pre_layrnorm_ = model->register_module("pre_layrnorm", LayerNorm(width, config_.layer_norm_eps));
  auto encoder = model->register_module("encoder", named_module("encoder"));
  layers_ = encoder->register_module("layers", std::make_shared<ModuleListImpl<ClipBlock>>());
  for (int64_t layer = 0; layer < config_.num_hidden_layers; ++layer) {
    layers_->add(ClipBlock(config_, options_));
  }
  mean_ = register_buffer("mean", channel_values(options_.mean));
  deviation_ = register_buffer("std", channel_values(options_.std));
  for (at::Tensor& parameter : parameters()) {
    parameter.requires_grad_(false);
  }
  eval();
}

void ClipVisionImpl::keep_matmul_weights_in(torch::Dtype dtype) {
  const at::NoGradGuard without_gradients;
  patch_weight_.set_data(patch_weight_.to(dtype));
  for (const auto& module : modules()) {
    if (auto* linear = dynamic_cast<LinearImpl*>(module.get())) {
      linear->weight.set_data(linear->weight.to(dtype));
      linear->bias.set_data(linear->bias.to(dtype));
    }
  }
}

torch::Tensor ClipVisionImpl::embed_patches(const torch::Tensor& pixel_values) const {
  // Patches do not overlap: the convolution is one GEMM of unfolded patches.
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
  const int64_t count = pixel_values.size(0), size = options_.encode_batch > 0 ? options_.encode_batch : count;
  std::vector<at::Tensor> batches;
  for (int64_t first = 0; first == 0 || first < count; first += size) {
    const at::Tensor pixels = batch_of(pixel_values, first, size).to(patch_weight_.options()).contiguous();
    batches.push_back(pre_layrnorm_->forward(embed_patches(pixels)));
  }
  // Block by block, so that its weights are fetched once for all batches.
  for (const ClipBlock& layer : layers_->items()) {
    for (at::Tensor& hidden : batches) {
      hidden = layer->forward(hidden);
    }
    if (options_.release_pages) {
      release_pages(*layer);
    }
  }
  if (options_.release_pages) {
    release_pages(*pre_layrnorm_);
    release_mapped_pages(patch_weight_);
    release_mapped_pages(position_embedding_);
  }
  return batches.size() == 1 && size == count ? batches[0] : at::cat(batches).narrow(0, 0, count);
}

torch::Tensor ClipVisionImpl::encode(const torch::Tensor& images) {
  const at::NoGradGuard without_gradients;
  require(images.scalar_type() == at::kByte && images.dim() == 4,
          "vision encoder: expected uint8 images [N, 3, H, W], found ", images.scalar_type(), " ", images.sizes());
  const at::Tensor pixels = copy_to_device(images, patch_weight_.device()).to(at::kFloat);
  const at::Tensor features = forward(pixels.div_(255.0).sub_(mean_).div_(deviation_));
  require(!features.is_cpu() || detail::all_finite(features),
          "vision encoder: expected numbers, found NaN or infinity; are the weights in --clip_dir damaged?");
  return features;
}

}  // namespace minimind
