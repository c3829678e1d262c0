#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <utility>

#include "minimind/chat/chat_model.h"
#include "minimind/text/chat_prompt.h"
#include "support/toy_model.h"

namespace minimind::testing {

inline std::unique_ptr<ChatModel> toy_chat_model(bool use_moe = false, int64_t cached_images = 64) {
  auto tokenizer = std::make_unique<ByteTokenizer>();
  const ClipVisionConfig vision = toy_vision_config();
  ClipVision encoder(vision);
  double phase = 0.1;
  const at::NoGradGuard without_gradients;
  for (at::Tensor& parameter : encoder->parameters()) {
    phase += 0.7;
    parameter.copy_(at::sin(at::arange(parameter.numel(), at::kFloat) * 1.3 + phase).view(parameter.sizes()));
  }
  ImagePattern pattern = make_image_pattern(*tokenizer, kToyPattern, vision.tokens());
  return std::make_unique<ChatModel>(std::move(tokenizer), std::move(encoder), toy_vlm(toy_lm_config(use_moe)),
                                     std::move(pattern), cached_images);
}

/// An image whose colours go by `tone`.
inline Image toy_image(int tone) {
  Image image{10, 6, {}};
  for (int64_t i = 0; i < image.width * image.height * 3; ++i) {
    image.pixels.push_back(static_cast<uint8_t>((i * 37 + tone * 91) % 256));
  }
  return image;
}

}  // namespace minimind::testing
