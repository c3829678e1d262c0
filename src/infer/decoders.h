#pragma once

#include <memory>

#include "minimind/infer/decoder.h"

namespace minimind::detail {

std::unique_ptr<Decoder> make_fused_decoder(const Vlm& model, int64_t capacity, WeightFormat format);

/// Whether the fused decoder serves this model: float32, on a CPU, no experts.
bool can_fuse(const Vlm& model);

/// Throws Error unless `count` more tokens fit; `count` >= 1.
void check_room(int64_t held, int64_t count, int64_t capacity);
/// Throws Error unless embeddings are [S, D].
void check_prompt(const at::Tensor& embeddings, int64_t dim, int64_t capacity);

}  // namespace minimind::detail
