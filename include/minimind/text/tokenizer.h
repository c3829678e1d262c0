#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "minimind/base/image_span.h"

namespace minimind {

/// Text to ids and back. Implementations: byte-level BPE from a Hugging Face `tokenizer.json`, and sentencepiece
/// `.model`. SPEC.md section 4. Immutable after loading: encode and decode may be called from several threads at once.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  /// Ids of UTF-8 text. The specials are matched in the text first, in both formats; BOS and EOS are not added.
  virtual std::vector<TokenId> encode(std::string_view text) const = 0;
  /// The bytes of one token (a special's literal text); ids outside the vocabulary give no bytes.
  virtual std::string token_bytes(TokenId id) const = 0;
  virtual int64_t vocab_size() const = 0;
  /// The id of a token's literal text, where there is one.
  virtual std::optional<TokenId> token_id(std::string_view token) const = 0;
  virtual bool is_special(TokenId id) const = 0;
  virtual TokenId bos_id() const = 0;
  virtual TokenId eos_id() const = 0;

  /// Invalid UTF-8 becomes U+FFFD.
  std::string decode(std::span<const TokenId> ids, bool skip_special = false) const;
};

/// Reads a `tokenizer.json`, a sentencepiece `.model`, or a folder that holds one of them (the former first).
/// Throws Error that names the file, what was expected and what was found.
std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& path);

/// The same for a model: throws Error too where the tokenizer has more tokens than `vocabulary`, that of `model`.
std::unique_ptr<Tokenizer> load_tokenizer_for(const std::string& model, int64_t vocabulary,
                                              const std::filesystem::path& path);

/// The file that load_tokenizer() reads: `path` itself, or the one in the folder. Throws Error.
std::filesystem::path tokenizer_file(const std::filesystem::path& path);

/// Text out of ids that arrive one by one; holds back the bytes of a character that is not complete yet.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}
  /// The text that became complete with this id; may be empty.
  std::string push(TokenId id);
  /// What is left, with U+FFFD for an incomplete end.
  std::string finish();

 private:
  const Tokenizer& tokenizer_;
  std::string pending_;
};

}  // namespace minimind
