#pragma once

#include <ATen/core/Tensor.h>

#include <span>
#include <vector>

#include "minimind/base/image_span.h"

namespace minimind {

/// Replaces the embeddings [position, position + P) of each span's row by the image's P vision tokens; image k
/// belongs to spans[k]. embeddings [B, S, D], vision_tokens [N, P, D] (undefined or N = 0: no image) → [B, S, D].
/// Gradients flow to both. Throws Error when images and spans do not match or a span does not fit its row.
at::Tensor splice_images(const at::Tensor& embeddings, const at::Tensor& vision_tokens,
                         const std::vector<ImageSpan>& spans);

/// Slots of every row of ids [B, S] in row order, found by the pattern; for callers that did not build the batch
/// themselves.
std::vector<ImageSpan> find_spans(const at::Tensor& ids, std::span<const TokenId> pattern);

}  // namespace minimind
