#include "minimind/text/tokenizer.h"

#include <algorithm>

#include "base/utf8.h"
#include "minimind/base/error.h"
#include "text/byte_bpe.h"
#include "text/sentencepiece_tokenizer.h"

namespace minimind {

namespace {

namespace fs = std::filesystem;

// The tokenizer file of a folder.
fs::path tokenizer_file_in(const fs::path& folder) {
  std::error_code error;
  if (fs::exists(folder / "tokenizer.json", error)) {
    return folder / "tokenizer.json";
  }
  std::vector<fs::path> models;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    if (entry->path().extension() == ".model") {
      models.push_back(entry->path());
    }
  }
  require(!error, folder.string(), ": cannot be listed: ", error.message());
  require(!models.empty(), folder.string(), ": expected a tokenizer.json or a sentencepiece .model in the folder, ",
          "found neither; give the tokenizer's file or folder");
  std::sort(models.begin(), models.end());
  require(models.size() == 1, folder.string(), ": expected one sentencepiece .model, found ", models.size(), " (",
          models[0].filename().string(), ", ", models.back().filename().string(), "); give the file itself");
  return models[0];
}

}  // namespace

std::string Tokenizer::decode(std::span<const TokenId> ids, bool skip_special) const {
  std::string bytes;
  for (const TokenId id : ids) {
    if (!skip_special || !is_special(id)) {
      bytes += token_bytes(id);
    }
  }
  return repair_utf8(bytes);
}

std::filesystem::path tokenizer_file(const std::filesystem::path& path) {
  std::error_code error;
  require(fs::exists(path, error), path.string(), ": expected a tokenizer (a tokenizer.json, a sentencepiece .model, ",
          "or a folder with one of them), found no such file or folder");
  return fs::is_directory(path, error) ? tokenizer_file_in(path) : path;
}

std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& path) {
  const fs::path file = tokenizer_file(path);
  if (file.extension() == ".json") {
    return text_detail::read_tokenizer_json(file.string());
  }
  require(file.extension() == ".model", file.string(), ": expected a file name ending in .json or .model, found '",
          file.filename().string(), "'");
  return text_detail::read_sentencepiece_model(file.string());
}

std::unique_ptr<Tokenizer> load_tokenizer_for(const std::string& model, int64_t vocabulary, const fs::path& path) {
  std::unique_ptr<Tokenizer> tokenizer = load_tokenizer(path);
  require(tokenizer->vocab_size() <= vocabulary, path.string(), ": expected at most ", vocabulary,
          " tokens (the vocabulary of ", model, "), found ", tokenizer->vocab_size(),
          "; is it this model's tokenizer?");
  return tokenizer;
}

std::string StreamDecoder::push(TokenId id) {
  pending_ += tokenizer_.token_bytes(id);
  const size_t ready = complete_utf8_prefix(pending_);
  std::string text = repair_utf8(std::string_view(pending_).substr(0, ready));
  pending_.erase(0, ready);
  return text;
}

std::string StreamDecoder::finish() {
  std::string text = repair_utf8(pending_);
  pending_.clear();
  return text;
}

}  // namespace minimind
