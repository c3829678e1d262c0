#pragma once

#include <ATen/core/Tensor.h>

#include <span>
#include <vector>

#include "minimind/base/image_span.h"

namespace minimind {

/// Replaces the embeddings [position, position + P) of each slot's row by the picture's P vision tokens; picture k
/// belongs to slots[k]. embeddings [B, S, D], vision_tokens [N, P, D] (undefined or N = 0: no picture) → [B, S, D].
/// Gradients flow to both. Throws Error when pictures and slots do not match or a slot does not fit its row.
at::Tensor splice_images(const at::Tensor& embeddings, const at::Tensor& vision_tokens,
                         const std::vector<ImageSlot>& slots);

/// Slots of every row of ids [B, S] in row order, found by the pattern; for callers that did not build the batch
/// themselves.
std::vector<ImageSlot> find_slots(const at::Tensor& ids, std::span<const TokenId> pattern);

}  // namespace minimind
