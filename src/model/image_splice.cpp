#include "model/image_splice.h"

#include <ATen/ATen.h>

#include "minimind/base/error.h"

namespace minimind {

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
  at::Tensor positions = at::empty({images * width}, at::kLong);
  int64_t* position = positions.data_ptr<int64_t>();
  for (const ImageSpan& span : spans) {
    require(span.row >= 0 && span.row < batch && span.position >= 0 && span.position + width <= length,
            "image span: expected ", width, " positions inside a batch of ", batch, " rows of ", length,
            " tokens, found row ", span.row, ", position ", span.position);
    for (int64_t token = 0; token < width; ++token) {
      *position++ = span.row * length + span.position + token;
    }
  }
  const at::Tensor source = vision_tokens.reshape({-1, dim}).to(embeddings.scalar_type());
  return embeddings.reshape({-1, dim})
      .index_copy(0, positions.to(embeddings.device()), source)
      .view(embeddings.sizes());
}

}  // namespace minimind
