#pragma once

#include <ATen/ATen.h>

#include "minimind/model/vlm.h"

namespace minimind::testing {

/// A model small enough for a unit test, with every part of the large ones.
inline LmConfig small_config() {
  LmConfig config;
  config.dim = 32;
  config.n_layers = 2;
  config.n_heads = 4;
  config.n_kv_heads = 2;
  config.vocab_size = 61;
  config.vision_dim = 12;
  return config;
}

inline LmConfig small_moe_config() {
  LmConfig config = small_config();
  config.use_moe = true;
  return config;
}

/// Initialised wider than usual, so that logits and attention differ visibly between tokens.
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

inline double largest_gap(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

}  // namespace minimind::testing
