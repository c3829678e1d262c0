#include "minimind/model/export_model.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>

#include "base/text.h"
#include "io/dtype_names.h"
#include "io/pth.h"
#include "io/safetensors.h"
#include "minimind/base/error.h"
#include "minimind/base/file.h"
#include "minimind/base/log.h"
#include "model/all_finite.h"

namespace minimind {

namespace {

bool is_head(const std::string& key) {
  return key == "output.weight";
}

/// The tensor in `dtype`. Throws Error if a number exceeds the range of `dtype` and would become infinite.
at::Tensor converted_tensor(const std::string& key, const at::Tensor& tensor, at::ScalarType dtype) {
  const at::Tensor result = tensor.to(dtype);
  if (!detail::all_finite(result)) {
    fail("key \"", key, "\": expected numbers that ", names_of(dtype).flag, " can hold, found the magnitude ",
         tensor.abs().max().item<double>(), "; use --dtype bfloat16 or float32, which have a larger range");
  }
  return result;
}

/// All keys in `dtype`; the tied pair shares its storage.
StateDict converted(const StateDict& state, at::ScalarType dtype, bool with_projection) {
  StateDict result;
  for (const auto& [key, tensor] : state.entries()) {
    if (is_head(key)) {
      result.add(key, *result.find("tok_embeddings.weight"));
    } else if (with_projection || !key.starts_with("vision_proj.")) {
      result.add(key, converted_tensor(key, tensor, dtype));
    }
  }
  return result;
}

/// safetensors refuses tensors that share their data: readers of tied models expect a file without the head.
StateDict without_head(StateDict state) {
  std::erase_if(state.entries(), [](const StateDict::Entry& entry) { return is_head(entry.first); });
  return state;
}

std::string ending_of(const fs::path& target) {
  return lower_case(target.extension().string());
}

bool is_pth(const fs::path& target) {
  return ending_of(target) == ".pth" || ending_of(target) == ".bin";
}

/// Whether the name has the suffix of another kind of model file: the user hardly means a folder.
bool looks_like_a_file(const fs::path& target) {
  constexpr std::array<const char*, 7> kSuffixes = {".pt", ".ckpt", ".gguf", ".onnx", ".h5", ".pkl", ".json"};
  return std::ranges::find(kSuffixes, ending_of(target)) != kSuffixes.end();
}

bool is_tokenizer_file(const fs::path& path) {
  const std::string name = path.filename().string();
  return name == "tokenizer.json" || name == "tokenizer_config.json" || name == "special_tokens_map.json" ||
         name == "vocab.json" || name == "merges.txt" || path.extension() == ".model";
}

/// Throws Error if a file at `path` is not the configuration of a MiniMind model.
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

/// Throws Error if `folder` is a file, or if it holds weights that an export would leave beside its own or replace by
/// mistake: weights of another format or in parts, another kind of model.
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

/// The tokenizer files of a folder, or the one file. Throws Error if there is no tokenizer file.
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

void copy_files(const std::vector<fs::path>& files, const fs::path& folder, std::vector<fs::path>& written) {
  for (const fs::path& file : files) {
    const fs::path copy = folder / file.filename();
    if (!fs::exists(copy) || !fs::equivalent(file, copy)) {
      write_file_atomically(copy, read_file(file));
    }
    written.push_back(copy);
  }
}

/// Writes the weights, and beside them the configuration: the shapes do not show all settings (head counts).
std::vector<fs::path> export_pth(const fs::path& target, const StateDict& state, const std::string& config) {
  const fs::path beside = fs::path(target).replace_extension(".json");
  require_replaceable_config(beside);
  write_pth(target, state, config);
  write_file_atomically(beside, config);
  return {target, beside};
}

std::vector<fs::path> export_folder(const ExportOptions& options, const StateDict& state, const std::string& config,
                                    const std::map<std::string, std::string>& metadata) {
  const fs::path& folder = options.target;
  const std::string weights = kFolderWeights[options.weights == "bin" ? 1 : 0];
  require_room_in_folder(folder, weights);
  std::vector<fs::path> tokenizer;
  if (!options.tokenizer.empty()) {
    tokenizer = tokenizer_files(options.tokenizer);
  }
  ensure_writable_folder(folder);
  std::vector<fs::path> written = {folder / weights, folder / "config.json"};
  if (options.weights == "bin") {
    write_pth(written[0], state, config);
  } else {
    write_safetensors(written[0], without_head(state), metadata);
  }
  write_file_atomically(written[1], config);
  copy_files(tokenizer, folder, written);
  return written;
}

}  // namespace

bool exports_folder(const fs::path& target) {
  return !is_pth(target) && ending_of(target) != ".safetensors";
}

std::vector<fs::path> export_model(const ModelFile& source, const ExportOptions& options) {
  const at::ScalarType dtype = dtype_of_flag(options.dtype, "dtype");
  require(options.weights == "safetensors" || options.weights == "bin", "weights: expected safetensors or bin, found ",
          options.weights);
  require(!looks_like_a_file(options.target), options.target.string(),
          ": expected NAME.pth, NAME.bin, NAME.safetensors or a folder to be written, found the name of another kind "
          "of file");
  require(options.tokenizer.empty() || exports_folder(options.target), options.target.string(),
          ": expected a folder for a tokenizer, found the name of one file; leave --tokenizer out");
  Vlm model(source.config);
  LoadOptions contract;
  contract.allow_missing = options.allow_missing;
  const LoadReport report = load_vlm(*model, source.state, source.weights.string(), contract);
  log_info(concat(source.weights.string(), ":\n", report.summary()));
  const StateDict state = converted(vlm_state_dict(*model), dtype, !report.lacks_projection());
  const std::string config = lm_config_to_json(source.config) + "\n";
  if (is_pth(options.target)) {
    return export_pth(options.target, state, config);
  }
  std::map<std::string, std::string> metadata = {{"format", "pt"}, {"config", lm_config_to_json(source.config)}};
  if (!source.stage.empty()) {
    metadata["stage"] = source.stage;
  }
  if (!exports_folder(options.target)) {
    write_safetensors(options.target, without_head(state), metadata);
    return {options.target};
  }
  return export_folder(options, state, config, metadata);
}

}  // namespace minimind
