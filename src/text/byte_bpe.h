#pragma once

#include <array>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "minimind/text/tokenizer.h"
#include "text/merge_table.h"
#include "text/special_splitter.h"

namespace minimind::text_detail {

/// A token that is matched in the text before byte-pair encoding.
struct AddedToken {
  std::string content;
  TokenId id = 0;
  bool special = false;
};

/// The model of a tokenizer.json. Its strings spell each byte as a printable character, a space as `Ġ`.
struct ByteBpeModel {
  std::unordered_map<std::string, TokenId> vocab;
  std::vector<std::pair<std::string, std::string>> merges;  // lowest rank first
  std::vector<AddedToken> added;
};

/// Reads the model of a Hugging Face `tokenizer.json`. Throws Error on any setting that ByteBpeTokenizer would not
/// reproduce.
ByteBpeModel read_byte_bpe_model(const std::string& path);

class ByteBpeTokenizer final : public Tokenizer {
 public:
  /// `where` names the file in errors. Throws Error if a byte has no token, a merge names an unknown token, two tokens
  /// share an id, or `<s>` or `</s>` is missing.
  ByteBpeTokenizer(const ByteBpeModel& model, const std::string& where);

  std::vector<TokenId> encode(std::string_view text) const override;
  std::string token_bytes(TokenId id) const override;
  int64_t vocab_size() const override { return static_cast<int64_t>(tokens_.size()); }
  std::optional<TokenId> token_id(std::string_view token) const override;
  bool is_special(TokenId id) const override;
  TokenId bos_id() const override { return bos_; }
  TokenId eos_id() const override { return eos_; }

 private:
  struct Token {
    std::string bytes;
    bool used = false;
    bool special = false;
  };
  void add_vocabulary(const ByteBpeModel& model, const std::string& where);
  void add_merges(const ByteBpeModel& model, const std::string& where);
  void encode_piece(std::string_view text, std::vector<TokenId>& word, std::vector<TokenId>& ids) const;

  std::vector<Token> tokens_;  // by id
  std::unordered_map<std::string, TokenId> id_of_bytes_;
  std::array<TokenId, 256> id_of_byte_{};
  MergeTable merges_;
  SpecialSplitter specials_;
  TokenId bos_ = 0;
  TokenId eos_ = 0;
};

}  // namespace minimind::text_detail
