#pragma once

#include <ATen/ATen.h>

#include "minimind/model/clip_vision.h"
#include "minimind/model/vlm.h"
#include "support/byte_tokenizer.h"
#include "support/small_model.h"

namespace minimind::testing {

inline ClipVisionConfig toy_vision_config() {
  ClipVisionConfig config;
  config.hidden_size = 12;
  config.intermediate_size = 16;
  config.num_hidden_layers = 1;
  config.num_attention_heads = 2;
  config.image_size = 8;
  config.patch_size = 4;
  return config;
}

inline LmConfig toy_lm_config(bool use_moe = false) {
  return small_config(ByteTokenizer().vocab_size(), toy_vision_config().hidden_size, use_moe);
}

/// Five vision tokens an image.
constexpr const char* kToyPattern = "<<<>>";

inline Vlm toy_vlm(const LmConfig& config) {
  return small_model(config, 3);
}

}  // namespace minimind::testing
