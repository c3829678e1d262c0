#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "minimind/base/image_span.h"

namespace minimind {

/// Replaces the embeddings of each image span by the P vision tokens of its image. spans[k] is the place of image k:
/// row b of the batch, positions [s, s + P). Rows may hold different numbers of images:
///   spans {{0, 1}, {0, 60}, {2, 1}} put images 0 and 1 into row 0 and image 2 into row 2; row 1 stays.
/// embeddings [B, S, D], vision_tokens [N, P, D] (undefined or N = 0: no image) → [B, S, D]. Gradients flow to both.
/// Throws Error if images and spans do not match or a span leaves its row.
at::Tensor splice_images(const at::Tensor& embeddings, const at::Tensor& vision_tokens,
                         const std::vector<ImageSpan>& spans);

}  // namespace minimind
