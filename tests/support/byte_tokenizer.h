#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "minimind/text/tokenizer.h"

namespace minimind::testing {

/// A tokenizer of single bytes: ids 0, 1, 2 are `<unk>`, `<s>`, `</s>`, byte b is 3 + b. Lengths are known without a
/// vocabulary.
class ByteTokenizer final : public Tokenizer {
 public:
  static constexpr TokenId kFirstByte = 3;

  std::vector<TokenId> encode(std::string_view text) const override {
    std::vector<TokenId> ids;
    while (!text.empty()) {
      size_t taken = 1;
      TokenId id = kFirstByte + static_cast<unsigned char>(text.front());
      for (TokenId special = 0; special < kFirstByte; ++special) {
        if (text.starts_with(kSpecials[special])) {
          taken = kSpecials[special].size();
          id = special;
        }
      }
      ids.push_back(id);
      text.remove_prefix(taken);
    }
    return ids;
  }
  std::string token_bytes(TokenId id) const override {
    if (id >= 0 && id < kFirstByte) {
      return std::string(kSpecials[id]);
    }
    return id < vocab_size() && id >= 0 ? std::string(1, static_cast<char>(id - kFirstByte)) : std::string();
  }
  int64_t vocab_size() const override { return kFirstByte + 256; }
  std::optional<TokenId> token_id(std::string_view token) const override {
    const auto ids = encode(token);
    return ids.size() == 1 ? std::optional<TokenId>(ids[0]) : std::nullopt;
  }
  bool is_special(TokenId id) const override { return id >= 0 && id < kFirstByte; }
  TokenId bos_id() const override { return 1; }
  TokenId eos_id() const override { return 2; }

 private:
  static constexpr std::string_view kSpecials[] = {"<unk>", "<s>", "</s>"};
};

}  // namespace minimind::testing
