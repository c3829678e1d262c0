#include "text/byte_bpe.h"

#include <algorithm>
#include <optional>
#include <unordered_set>
#include <utility>

#include "base/utf8.h"
#include "minimind/base/error.h"
#include "text/char_class.h"

namespace minimind::text_detail {

namespace {

// Far above any real vocabulary, so that a broken file cannot ask for all memory.
constexpr TokenId kMaxId = 1 << 24;

// The printable character that spells each byte: printable Latin-1 itself, the other bytes U+0100 and up.
std::array<char32_t, 256> byte_alphabet() {
  std::array<char32_t, 256> alphabet{};
  char32_t next = 0x100;
  for (char32_t byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
    alphabet[byte] = printable ? byte : next++;
  }
  return alphabet;
}

// The bytes that a vocabulary string spells; the string itself if it has a character outside the alphabet.
std::string spelled_bytes(const std::array<char32_t, 256>& alphabet, const std::string& token) {
  std::string bytes;
  for (const char32_t character : utf8_to_codepoints(token)) {
    const auto* const found = std::ranges::find(alphabet, character);
    if (found == alphabet.end()) {
      return token;
    }
    bytes += static_cast<char>(found - alphabet.begin());
  }
  return bytes;
}

std::vector<std::pair<std::string, TokenId>> splits_of(const std::vector<AddedToken>& added) {
  std::vector<std::pair<std::string, TokenId>> splits;
  splits.reserve(added.size());
  for (const AddedToken& token : added) {
    splits.emplace_back(token.content, token.id);
  }
  return splits;
}

}  // namespace

ByteBpeTokenizer::ByteBpeTokenizer(const ByteBpeModel& model, const std::string& where)
    : merges_(model.merges.size()), specials_(splits_of(model.added)) {
  add_vocabulary(model, where);
  add_merges(model, where);
  const auto needed = [&](const char* token) {
    const auto id = token_id(token);
    require(id.has_value(), where, ": expected a token ", token,
            ", which the chat template needs, found no such token");
    return *id;
  };
  bos_ = needed("<s>");
  eos_ = needed("</s>");
}

void ByteBpeTokenizer::add_vocabulary(const ByteBpeModel& model, const std::string& where) {
  const auto place = [&](TokenId id, const std::string& name, Token token) {
    require(id >= 0 && id < kMaxId, where, ": token '", name, "': expected an id below ", kMaxId, ", found ", id);
    if (tokens_.size() <= static_cast<size_t>(id)) {
      tokens_.resize(static_cast<size_t>(id) + 1);
    }
    Token& slot = tokens_[static_cast<size_t>(id)];
    require(!slot.used, where, ": expected one token for each id, found id ", id, " for '", slot.bytes, "' and '", name,
            "'");
    slot = std::move(token);
  };
  std::unordered_set<std::string> added;
  for (const AddedToken& token : model.added) {
    const auto known = model.vocab.find(token.content);
    require(known == model.vocab.end() || known->second == token.id, where, ": token '", token.content,
            "': expected one id, found ", token.id, " in added_tokens and ",
            known == model.vocab.end() ? token.id : known->second, " in model.vocab");
    place(token.id, token.content, {token.content, true, token.special});
    added.insert(token.content);
  }
  const std::array<char32_t, 256> alphabet = byte_alphabet();
  for (const auto& [name, id] : model.vocab) {
    if (!added.contains(name)) {
      place(id, name, {spelled_bytes(alphabet, name), true, false});
    }
  }
  for (size_t id = 0; id < tokens_.size(); ++id) {
    if (tokens_[id].used) {
      id_of_bytes_.emplace(tokens_[id].bytes, static_cast<TokenId>(id));
    }
  }
  for (size_t byte = 0; byte < alphabet.size(); ++byte) {
    std::string symbol;
    append_utf8(symbol, alphabet[byte]);
    const auto found = model.vocab.find(symbol);
    require(found != model.vocab.end(), where, ": expected a token for each of the 256 bytes, found no token for byte ",
            byte, " ('", symbol, "'); is this a byte-level tokenizer?");
    id_of_byte_[byte] = found->second;
  }
}

void ByteBpeTokenizer::add_merges(const ByteBpeModel& model, const std::string& where) {
  for (size_t rank = 0; rank < model.merges.size(); ++rank) {
    const std::string& left = model.merges[rank].first;
    const std::string& right = model.merges[rank].second;
    const auto id_of = [&](const std::string& token) {
      const auto found = model.vocab.find(token);
      require(found != model.vocab.end(), where, ": model.merges[", rank, "] ('", left, "' '", right,
              "'): expected tokens of model.vocab, found '", token, "', which is not in it");
      return found->second;
    };
    merges_.add(id_of(left), id_of(right), id_of(left + right));
  }
}

void ByteBpeTokenizer::encode_piece(std::string_view text, std::vector<TokenId>& word,
                                    std::vector<TokenId>& ids) const {
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = word_end(text, begin);
    word.clear();
    for (size_t i = begin; i < end; ++i) {
      word.push_back(id_of_byte_[static_cast<uint8_t>(text[i])]);
    }
    merges_.merge(word);
    ids.insert(ids.end(), word.begin(), word.end());
    begin = end;
  }
}

std::vector<TokenId> ByteBpeTokenizer::encode(std::string_view text) const {
  std::vector<TokenId> ids;
  std::vector<TokenId> word;
  specials_.split(
      text, [&](std::string_view piece) { encode_piece(piece, word, ids); }, [&](TokenId id) { ids.push_back(id); });
  return ids;
}

std::string ByteBpeTokenizer::token_bytes(TokenId id) const {
  return id < 0 || id >= vocab_size() ? std::string() : tokens_[static_cast<size_t>(id)].bytes;
}

std::optional<TokenId> ByteBpeTokenizer::token_id(std::string_view token) const {
  const auto found = id_of_bytes_.find(std::string(token));
  return found == id_of_bytes_.end() ? std::nullopt : std::optional<TokenId>(found->second);
}

bool ByteBpeTokenizer::is_special(TokenId id) const {
  return id >= 0 && id < vocab_size() && tokens_[static_cast<size_t>(id)].special;
}

}  // namespace minimind::text_detail
