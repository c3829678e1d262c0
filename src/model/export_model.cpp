#include "minimind/model/export_model.h"

#include <ATen/Tensor.h>

#include "minimind/base/error.h"
#include "minimind/base/file.h"
#include "minimind/base/log.h"

namespace minimind {

namespace {

at::ScalarType export_dtype(const std::string& name) {
  if (name == "float32") {
    return at::kFloat;
  }
  if (name == "float16") {
    return at::kHalf;
  }
  require(name == "bfloat16", "dtype: expected float32, float16 or bfloat16, found ", name);
  return at::kBFloat16;
}

bool is_head(const std::string& key) {
  return key == "output.weight";
}

/// All keys in the dtype asked for; the tied pair stays one storage.
StateDict converted(const StateDict& state, at::ScalarType dtype, bool with_projection) {
  StateDict result;
  for (const auto& [key, tensor] : state.entries()) {
    if (is_head(key)) {
      result.add(key, *result.find("tok_embeddings.weight"));
    } else if (with_projection || !key.starts_with("vision_proj.")) {
      result.add(key, tensor.to(dtype));
    }
  }
  return result;
}

/// safetensors refuses tensors that share their data: the head stays out, as readers of tied models expect.
StateDict without_head(const StateDict& state) {
  StateDict result;
  for (const auto& [key, tensor] : state.entries()) {
    if (!is_head(key)) {
      result.add(key, tensor);
    }
  }
  return result;
}

bool is_tokenizer_file(const fs::path& path) {
  const std::string name = path.filename().string();
  return name == "tokenizer.json" || name == "tokenizer_config.json" || name == "special_tokens_map.json" ||
         name == "vocab.json" || name == "merges.txt" || path.extension() == ".model";
}

void copy_tokenizer(const fs::path& from, const fs::path& folder, std::vector<fs::path>& written) {
  std::vector<fs::path> files;
  if (fs::is_directory(from)) {
    for (const auto& entry : fs::directory_iterator(from)) {
      if (entry.is_regular_file() && is_tokenizer_file(entry.path())) {
        files.push_back(entry.path());
      }
    }
  } else if (fs::exists(from)) {
    files.push_back(from);
  }
  require(!files.empty(), from.string(), ": expected a tokenizer (tokenizer.json or a .model file), found none");
  for (const fs::path& file : files) {
    if (!fs::exists(folder / file.filename()) || !fs::equivalent(file, folder / file.filename())) {
      write_file_atomically(folder / file.filename(), read_file(file));
    }
    written.push_back(folder / file.filename());
  }
}

}  // namespace

std::vector<fs::path> export_model(const ModelFile& source, const ExportOptions& options) {
  const at::ScalarType dtype = export_dtype(options.dtype);
  require(options.weights == "safetensors" || options.weights == "bin", "weights: expected safetensors or bin, found ",
          options.weights);
  Vlm model(source.config);
  const LoadReport report = load_vlm(*model, source.state, source.weights.string());
  log_info(concat(source.weights.string(), ":\n", report.summary()));
  const StateDict state = converted(vlm_state_dict(*model), dtype, !report.lacks_projection());
  const std::string config = lm_config_to_json(source.config);
  std::map<std::string, std::string> metadata = {{"format", "pt"}, {"config", config}};
  if (!source.stage.empty()) {
    metadata["stage"] = source.stage;
  }
  const std::string suffix = options.target.extension().string();
  if (suffix == ".pth" || suffix == ".bin") {
    write_pth(options.target, state);
    return {options.target};
  }
  if (suffix == ".safetensors") {
    write_safetensors(options.target, without_head(state), metadata);
    return {options.target};
  }
  ensure_writable_folder(options.target);
  std::vector<fs::path> written;
  if (options.weights == "bin") {
    written.push_back(options.target / "pytorch_model.bin");
    write_pth(written.back(), state);
  } else {
    written.push_back(options.target / "model.safetensors");
    write_safetensors(written.back(), without_head(state), metadata);
  }
  written.push_back(options.target / "config.json");
  write_file_atomically(written.back(), config + "\n");
  if (!options.tokenizer.empty()) {
    copy_tokenizer(options.tokenizer, options.target, written);
  }
  return written;
}

}  // namespace minimind
