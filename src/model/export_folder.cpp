#include "model/export_folder.h"

#include "minimind/base/error.h"
#include "minimind/model/config.h"
#include "model/model_file.h"

namespace minimind {

namespace {

bool is_tokenizer_file(const fs::path& path) {
  const std::string name = path.filename().string();
  return name == "tokenizer.json" || name == "tokenizer_config.json" || name == "special_tokens_map.json" ||
         name == "vocab.json" || name == "merges.txt" || path.extension() == ".model";
}

}  // namespace

void require_replaceable_config(const fs::path& path) {
  if (!fs::exists(path)) {
    return;
  }
  try {
    lm_config_from_json(read_file(path), path.string());
  } catch (const Error& error) {
    fail(path.string(),
         ": expected no file or the configuration of a MiniMind model, which is replaced, found another file: ",
         error.what(), "; give --out another name");
  }
}

void require_room_in_folder(const fs::path& folder, const std::string& weights_name) {
  if (!fs::exists(folder)) {
    return;
  }
  require(fs::is_directory(folder), folder.string(),
          ": expected NAME.pth, NAME.bin, NAME.safetensors or a folder, found a file of another name");
  for (const std::string weights : kFolderWeights) {
    for (const std::string& name : {weights, weights + ".index.json"}) {
      // Readers take the first format that they know: two would be two models in one folder.
      require(name == weights_name || !fs::exists(folder / name), folder.string(),
              ": expected a folder without other weights, found ", name, ", which would stay beside ", weights_name,
              "; remove it, or give --out another folder");
    }
  }
  require(!fs::exists(folder / weights_name) || fs::exists(folder / "config.json"), folder.string(),
          ": expected the folder of a MiniMind model, found ", weights_name,
          " without a config.json; give --out another folder");
  require_replaceable_config(folder / "config.json");
}

std::vector<fs::path> tokenizer_files(const fs::path& tokenizer) {
  std::vector<fs::path> files;
  if (fs::is_directory(tokenizer)) {
    for (const auto& entry : fs::directory_iterator(tokenizer)) {
      if (entry.is_regular_file() && is_tokenizer_file(entry.path())) {
        files.push_back(entry.path());
      }
    }
  } else if (fs::exists(tokenizer)) {
    files.push_back(tokenizer);
  }
  require(!files.empty(), tokenizer.string(),
          ": expected a tokenizer (tokenizer.json or a .model file), found no such file");
  return files;
}

}  // namespace minimind
