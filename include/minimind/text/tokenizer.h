#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "minimind/base/image_span.h"

namespace minimind {

/// Converts text to token ids and back (SPEC.md section 4). Immutable after loading: several threads may use it at
/// once.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  /// Ids of UTF-8 text. Special tokens are matched in the text first. BOS and EOS are not added.
  virtual std::vector<TokenId> encode(std::string_view text) const = 0;
  /// The bytes of one token, of a special token its literal text; empty for an id outside the vocabulary.
  virtual std::string token_bytes(TokenId id) const = 0;
  virtual int64_t vocab_size() const = 0;
  /// The id of the token with this literal text, if there is one.
  virtual std::optional<TokenId> token_id(std::string_view token) const = 0;
  virtual bool is_special(TokenId id) const = 0;
  virtual TokenId bos_id() const = 0;
  virtual TokenId eos_id() const = 0;

  /// The text of the ids; invalid UTF-8 becomes U+FFFD.
  std::string decode(std::span<const TokenId> ids) const;
};

/// Decodes ids that arrive one by one. Holds back the bytes of a character that is not complete yet.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}
  /// The text that this id completes; may be empty.
  std::string push(TokenId id);
  /// The rest, with U+FFFD for an incomplete character.
  std::string finish();

 private:
  const Tokenizer& tokenizer_;
  std::string pending_;
};

}  // namespace minimind
