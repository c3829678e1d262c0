#pragma once

#include <ATen/ATen.h>

#include <vector>

#include "minimind/model/vlm.h"

namespace minimind::testing {

/// A configuration small enough for a unit test, with every part of the large ones. Tests change what they need.
inline LmConfig small_config(int64_t vocab_size = 61, int64_t vision_dim = 12, bool use_moe = false) {
  LmConfig config;
  config.dim = 32;
  config.n_layers = 2;
  config.n_heads = 4;
  config.n_kv_heads = 2;
  config.vocab_size = vocab_size;
  config.vision_dim = vision_dim;
  config.use_moe = use_moe;
  return config;
}

inline LmConfig small_moe_config() {
  return small_config(61, 12, true);
}

/// Weights of a large standard deviation, so that logits and attention differ visibly between tokens and images.
inline Vlm small_model(const LmConfig& config, uint64_t seed = 1) {
  Vlm model(config);
  initialise(*model, seed);
  const at::NoGradGuard without_gradients;
  for (at::Tensor& parameter : model->parameters()) {
    if (parameter.dim() > 1) {
      parameter.mul_(8.0);
    }
  }
  model->eval();
  return model;
}

/// Ids of this shape from 1 to vocab_size - 1.
inline at::Tensor seeded_ids(std::vector<int64_t> shape, int64_t vocab_size, int64_t seed = 7) {
  at::Tensor ids = at::arange(at::prod(at::tensor(shape, at::kLong)).item<int64_t>(), at::kLong);
  ids = (ids * 7919 + seed * 104729).remainder(vocab_size - 1) + 1;
  return ids.view(shape);
}

/// Smooth numbers that differ everywhere, without a random generator.
inline at::Tensor waves(std::vector<int64_t> shape, double phase = 0.3) {
  const int64_t count = at::prod(at::tensor(shape, at::kLong)).item<int64_t>();
  return at::sin(at::arange(count, at::kFloat) * 1.7 + phase).view(shape);
}

}  // namespace minimind::testing
