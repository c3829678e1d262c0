#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>

#include "base/utf8.h"
#include "minimind/base/error.h"
#include "minimind/text/load_tokenizer.h"
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

/// A folder of its own, removed at the end.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "minimind_text_XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) {
      throw std::runtime_error("no temporary folder");
    }
    path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path write(const std::string& name, const std::string& bytes) const {
    std::ofstream(path_ / name, std::ios::binary) << bytes;
    return path_ / name;
  }

 private:
  std::filesystem::path path_;
};

/// The message of the Error that `action` throws.
template <class Action>
std::string error_of(Action&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace minimind::testing
