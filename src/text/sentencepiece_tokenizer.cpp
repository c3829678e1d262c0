#include "text/sentencepiece_tokenizer.h"

#include <sentencepiece_processor.h>

#include <array>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/utf8.h"
#include "minimind/base/error.h"
#include "minimind/base/file.h"
#include "text/special_splitter.h"

namespace minimind::text_detail {

namespace {

// How sentencepiece spells a space (U+2581).
constexpr std::string_view kSpaceSymbol = "\xE2\x96\x81";

std::string with_spaces(std::string_view piece) {
  std::string text;
  for (size_t at = 0; at < piece.size();) {
    const bool space = piece.substr(at).starts_with(kSpaceSymbol);
    text += space ? ' ' : piece[at];
    at += space ? kSpaceSymbol.size() : 1;
  }
  return text;
}

class SentencepieceTokenizer final : public Tokenizer {
 public:
  explicit SentencepieceTokenizer(const std::string& path);

  std::vector<TokenId> encode(std::string_view text) const override;
  std::string token_bytes(TokenId id) const override {
    return id < 0 || id >= vocab_size() ? std::string() : tokens_[static_cast<size_t>(id)];
  }
  int64_t vocab_size() const override { return static_cast<int64_t>(tokens_.size()); }
  std::optional<TokenId> token_id(std::string_view token) const override {
    const auto found = id_of_bytes_.find(std::string(token));
    return found == id_of_bytes_.end() ? std::nullopt : std::optional<TokenId>(found->second);
  }
  bool is_special(TokenId id) const override {
    return id >= 0 && id < vocab_size() && (processor_.IsControl(id) || processor_.IsUnknown(id));
  }
  TokenId bos_id() const override { return processor_.bos_id(); }
  TokenId eos_id() const override { return processor_.eos_id(); }

 private:
  void read_tokens(const std::string& path);
  void check_round_trips(const std::string& path) const;
  void encode_piece(std::string_view text, std::vector<TokenId>& ids) const;

  sentencepiece::SentencePieceProcessor processor_;
  std::vector<std::string> tokens_;  // the bytes of each id
  std::unordered_map<std::string, TokenId> id_of_bytes_;
  std::array<TokenId, 256> id_of_byte_{};
  SpecialSplitter specials_;
};

SentencepieceTokenizer::SentencepieceTokenizer(const std::string& path) {
  const auto status = processor_.LoadFromSerializedProto(read_file(path));
  require(status.ok(), path, ": expected a sentencepiece model, found other data (", status.ToString(), ")");
  read_tokens(path);
  check_round_trips(path);
}

void SentencepieceTokenizer::read_tokens(const std::string& path) {
  id_of_byte_.fill(-1);
  std::vector<std::pair<std::string, TokenId>> specials;
  const int size = processor_.GetPieceSize();
  for (TokenId id = 0; id < size; ++id) {
    const std::string& piece = processor_.IdToPiece(id);
    if (processor_.IsByte(id)) {
      const auto byte = static_cast<uint8_t>(std::stoul(piece.substr(3, 2), nullptr, 16));  // "<0x0A>"
      id_of_byte_[byte] = id;
      tokens_.emplace_back(1, static_cast<char>(byte));
    } else if (processor_.IsControl(id) || processor_.IsUnknown(id)) {
      tokens_.push_back(piece);
      specials.emplace_back(piece, id);
    } else {
      tokens_.push_back(with_spaces(piece));
    }
  }
  specials_ = SpecialSplitter(std::move(specials));
  // If a piece and a byte have the same text, encoding gives the piece.
  for (const bool bytes : {false, true}) {
    for (TokenId id = 0; id < size; ++id) {
      if (processor_.IsByte(id) == bytes) {
        id_of_bytes_.emplace(tokens_[static_cast<size_t>(id)], id);
      }
    }
  }
  for (const auto& [token, id] : {std::pair("<s>", bos_id()), std::pair("</s>", eos_id())}) {
    require(id >= 0 && tokens_[static_cast<size_t>(id)] == token, path, ": expected a control token ", token,
            ", which the chat template needs, found ",
            id < 0 ? "no such token" : "'" + tokens_[static_cast<size_t>(id)] + "'");
  }
}

// Encodes and decodes texts that sentencepiece's defaults change: they add a space in front, drop or join spaces, drop
// newlines, normalise characters or lack them.
void SentencepieceTokenizer::check_round_trips(const std::string& path) const {
  for (const std::string text :
       {"a", " a", "a  b ", "a\n\nb\t", "\xEF\xBC\xA1\xC2\xB2", "\xF0\x9F\x98\x80", kSpaceSymbol.data()}) {
    std::string back;
    for (const TokenId id : encode(text)) {
      back += token_bytes(id);
    }
    require(back == text, path, ": expected a model that gives text back (identity normalisation, no dummy prefix, ",
            "extra white space kept, byte fallback), found '", text, "' turned into '", back, "'");
  }
}

void SentencepieceTokenizer::encode_piece(std::string_view text, std::vector<TokenId>& ids) const {
  std::vector<int> piece_ids;
  const auto encode_part = [&](std::string_view part) {
    if (part.empty()) {
      return;
    }
    const auto status = processor_.Encode({part.data(), part.size()}, &piece_ids);
    require(status.ok(), "sentencepiece: ", status.ToString());
    ids.insert(ids.end(), piece_ids.begin(), piece_ids.end());
  };
  // A U+2581 in the text would be decoded to a space. Its bytes become tokens instead.
  size_t begin = 0;
  for (size_t at; (at = text.find(kSpaceSymbol, begin)) != std::string_view::npos; begin = at + kSpaceSymbol.size()) {
    encode_part(text.substr(begin, at - begin));
    for (const char byte : kSpaceSymbol) {
      const TokenId id = id_of_byte_[static_cast<uint8_t>(byte)];
      ids.push_back(id < 0 ? processor_.unk_id() : id);
    }
  }
  encode_part(text.substr(begin));
}

std::vector<TokenId> SentencepieceTokenizer::encode(std::string_view text) const {
  const std::string valid = repair_utf8(text);
  std::vector<TokenId> ids;
  specials_.split(
      valid, [&](std::string_view piece) { encode_piece(piece, ids); }, [&](TokenId id) { ids.push_back(id); });
  return ids;
}

}  // namespace

std::unique_ptr<Tokenizer> read_sentencepiece_model(const std::string& path) {
  return std::make_unique<SentencepieceTokenizer>(path);
}

}  // namespace minimind::text_detail
