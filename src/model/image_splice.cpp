#include "model/image_splice.h"

#include <ATen/ATen.h>

#include "minimind/base/error.h"

namespace minimind {

at::Tensor splice_images(const at::Tensor& embeddings, const at::Tensor& vision_tokens,
                         const std::vector<ImageSlot>& slots) {
  const int64_t pictures = vision_tokens.defined() ? vision_tokens.size(0) : 0;
  require(pictures == static_cast<int64_t>(slots.size()), "pictures and <image> slots: ", slots.size(),
          " slots in the text, found ", pictures, " pictures; give one picture for each <image>");
  if (pictures == 0) {
    return embeddings;
  }
  const int64_t batch = embeddings.size(0), length = embeddings.size(1), dim = embeddings.size(2);
  const int64_t width = vision_tokens.size(1);
  require(vision_tokens.dim() == 3 && vision_tokens.size(2) == dim, "vision tokens: expected [N, P, ", dim, "], found ",
          vision_tokens.sizes());
  at::Tensor positions = at::empty({pictures * width}, at::kLong);
  int64_t* position = positions.data_ptr<int64_t>();
  for (const ImageSlot& slot : slots) {
    require(slot.row >= 0 && slot.row < batch && slot.position >= 0 && slot.position + width <= length,
            "image slot: expected ", width, " positions inside a batch of ", batch, " rows of ", length,
            " tokens, found row ", slot.row, ", position ", slot.position);
    for (int64_t token = 0; token < width; ++token) {
      *position++ = slot.row * length + slot.position + token;
    }
  }
  const at::Tensor source = vision_tokens.reshape({-1, dim}).to(embeddings.scalar_type());
  return embeddings.reshape({-1, dim})
      .index_copy(0, positions.to(embeddings.device()), source)
      .view(embeddings.sizes());
}

std::vector<ImageSlot> find_slots(const at::Tensor& ids, std::span<const TokenId> pattern) {
  require(ids.dim() == 2, "ids: expected [B, S], found ", ids.sizes());
  const at::Tensor host = ids.to(at::kCPU, at::kLong).contiguous();
  std::vector<ImageSlot> slots;
  for (int64_t row = 0; row < host.size(0); ++row) {
    const std::span<const int64_t> row_ids(host.data_ptr<int64_t>() + row * host.size(1), host.size(1));
    for (const int64_t position : find_image_slots(row_ids, pattern)) {
      slots.push_back({row, position});
    }
  }
  return slots;
}

}  // namespace minimind
