#pragma once

#include <memory>
#include <string>

#include "base/utf8.h"
#include "minimind/base/error.h"
#include "minimind/text/load_tokenizer.h"
#include "support/error_of.h"
#include "support/temporary_folder.h"
#include "text/byte_bpe.h"

namespace minimind::testing {

/// The printable alphabet of byte-level BPE, by its definition.
inline std::string alphabet_symbol(int byte) {
  int shifted = 0;
  for (int other = 0; other <= byte; ++other) {
    const bool printable = (other >= '!' && other <= '~') || (other >= 0xA1 && other <= 0xAC) || other >= 0xAE;
    if (other == byte) {
      std::string symbol;
      append_utf8(symbol, static_cast<char32_t>(printable ? byte : 0x100 + shifted));
      return symbol;
    }
    shifted += printable ? 0 : 1;
  }
  return {};
}

/// Specials 0 to 2, the bytes, and `ab`, `abab`.
inline text_detail::ByteBpeModel small_byte_bpe_model() {
  text_detail::ByteBpeModel model;
  model.added = {{"<unk>", 0, true}, {"<s>", 1, true}, {"</s>", 2, true}};
  TokenId next = 3;
  for (int byte = 0; byte < 256; ++byte) {
    model.vocab[alphabet_symbol(byte)] = next++;
  }
  model.vocab["ab"] = next++;
  model.vocab["abab"] = next++;
  model.merges = {{"a", "b"}, {"ab", "ab"}};
  return model;
}

inline std::unique_ptr<Tokenizer> small_byte_bpe() {
  return std::make_unique<text_detail::ByteBpeTokenizer>(small_byte_bpe_model(), "test");
}

}  // namespace minimind::testing
