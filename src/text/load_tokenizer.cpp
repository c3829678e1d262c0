#include "minimind/text/load_tokenizer.h"

#include <algorithm>
#include <vector>

#include "base/hub_folder.h"
#include "minimind/base/error.h"
#include "text/byte_bpe.h"
#include "text/sentencepiece_tokenizer.h"

namespace minimind {

namespace {

namespace fs = std::filesystem;

// The tokenizer file in a folder.
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
          "found no such file; give the tokenizer's file or folder");
  std::sort(models.begin(), models.end());
  require(models.size() == 1, folder.string(), ": expected one sentencepiece .model, found ", models.size(), " (",
          models[0].filename().string(), ", ", models.back().filename().string(), "); give the file itself");
  return models[0];
}

}  // namespace

std::filesystem::path tokenizer_file(const std::filesystem::path& path) {
  std::error_code error;
  require(fs::exists(path, error), path.string(), ": expected a tokenizer.json, a sentencepiece .model, ",
          "or a folder with one of them, found no such file or folder");
  return fs::is_directory(path, error) ? tokenizer_file_in(hub_snapshot(path)) : path;
}

std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& path) {
  const fs::path file = tokenizer_file(path);
  if (file.extension() == ".json") {
    return std::make_unique<text_detail::ByteBpeTokenizer>(text_detail::read_byte_bpe_model(file.string()),
                                                           file.string());
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

}  // namespace minimind
