#include "minimind/model/vlm.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "minimind/base/error.h"
#include "model/device_copy.h"

namespace minimind {

namespace {

/// Replaces the embeddings of each image span by the P vision tokens of its image. spans[k] is the place of image k:
/// row b of the batch, positions [s, s + P). Rows may hold different numbers of images:
///   spans {{0, 1}, {0, 60}, {2, 1}} put images 0 and 1 into row 0 and image 2 into row 2; row 1 stays.
/// embeddings [B, S, D], vision_tokens [N, P, D] (undefined or N = 0: no image) → [B, S, D]. Gradients flow to both.
/// Throws Error if images and spans do not match or a span leaves its row.
at::Tensor splice_images(const at::Tensor& embeddings, const at::Tensor& vision_tokens,
                         const std::vector<ImageSpan>& spans) {
  const int64_t images = vision_tokens.defined() ? vision_tokens.size(0) : 0;
  require(images == static_cast<int64_t>(spans.size()), "images and <image> spans: ", spans.size(),
          " spans in the text, found ", images, " images; give one image for each <image>");
  if (images == 0) {
    return embeddings;
  }
  const int64_t batch = embeddings.size(0), length = embeddings.size(1), dim = embeddings.size(2);
  const int64_t width = vision_tokens.size(1);
  require(vision_tokens.dim() == 3 && vision_tokens.size(2) == dim, "vision tokens: expected [N, P, ", dim, "], found ",
          vision_tokens.sizes());
  std::vector<int64_t> positions;
  positions.reserve(static_cast<size_t>(images * width));
  for (const ImageSpan& span : spans) {
    require(span.row >= 0 && span.row < batch && span.position >= 0 && span.position + width <= length,
            "image span: expected ", width, " positions inside a batch of ", batch, " rows of ", length,
            " tokens, found row ", span.row, ", position ", span.position);
    for (int64_t token = 0; token < width; ++token) {
      positions.push_back(span.row * length + span.position + token);
    }
  }
  const at::Tensor source = vision_tokens.reshape({-1, dim}).to(embeddings.scalar_type());
  const c10::Device device = embeddings.device();
  const at::Tensor places = copy_to_device(index_tensor(positions, device), device);
  return embeddings.reshape({-1, dim}).index_copy(0, places, source).view(embeddings.sizes());
}

}  // namespace

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
