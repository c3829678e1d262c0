#pragma once

#include <ATen/ATen.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "minimind/model/clip_vision.h"
#include "minimind/model/vlm.h"
#include "minimind/text/tokenizer.h"
#include "support/small_model.h"

namespace minimind::testing {

/// A tokenizer of single bytes: ids 0, 1, 2 are `<unk>`, `<s>`, `</s>`, byte b is 3 + b.
class ByteTokenizer : public Tokenizer {
 public:
  static constexpr TokenId kFirstByte = 3;

  std::vector<TokenId> encode(std::string_view text) const override {
    std::vector<TokenId> ids;
    while (!text.empty()) {
      if (text.starts_with("<s>")) {
        ids.push_back(1);
        text.remove_prefix(3);
      } else if (text.starts_with("</s>")) {
        ids.push_back(2);
        text.remove_prefix(4);
      } else {
        ids.push_back(kFirstByte + static_cast<unsigned char>(text.front()));
        text.remove_prefix(1);
      }
    }
    return ids;
  }
  std::string token_bytes(TokenId id) const override {
    static const std::vector<std::string> specials = {"<unk>", "<s>", "</s>"};
    return id < kFirstByte ? specials.at(static_cast<size_t>(id)) : std::string(1, static_cast<char>(id - kFirstByte));
  }
  int64_t vocab_size() const override { return kFirstByte + 256; }
  std::optional<TokenId> token_id(std::string_view token) const override {
    const std::vector<TokenId> ids = encode(token);
    return ids.size() == 1 ? std::optional(ids.front()) : std::nullopt;
  }
  bool is_special(TokenId id) const override { return id < kFirstByte; }
  TokenId bos_id() const override { return 1; }
  TokenId eos_id() const override { return 2; }
};

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
