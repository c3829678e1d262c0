#include "minimind/model/export_model.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>

#include "base/utf8.h"
#include "minimind/base/error.h"
#include "minimind/base/file.h"
#include "minimind/base/log.h"
#include "model/all_finite.h"
#include "model/export_folder.h"

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

/// Numbers beyond float16's range would become infinite.
at::Tensor narrowed(const std::string& key, const at::Tensor& tensor, const std::string& dtype) {
  const at::Tensor narrow = tensor.to(export_dtype(dtype));
  if (!detail::all_finite(narrow)) {
    fail("key \"", key, "\": expected numbers that ", dtype, " can hold, found the magnitude ",
         tensor.abs().max().item<double>(), "; --dtype bfloat16 or float32 keeps its range");
  }
  return narrow;
}

/// All keys in the dtype asked for; the tied pair stays one storage.
StateDict converted(const StateDict& state, const std::string& dtype, bool with_projection) {
  StateDict result;
  for (const auto& [key, tensor] : state.entries()) {
    if (is_head(key)) {
      result.add(key, *result.find("tok_embeddings.weight"));
    } else if (with_projection || !key.starts_with("vision_proj.")) {
      result.add(key, narrowed(key, tensor, dtype));
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

std::string ending_of(const fs::path& target) {
  return ascii_lower(target.extension().string());
}

bool is_pth(const fs::path& target) {
  return ending_of(target) == ".pth" || ending_of(target) == ".bin";
}

/// Suffixes of other programs' model files: a folder of such a name is hardly what is meant.
bool looks_like_a_file(const fs::path& target) {
  constexpr std::array<const char*, 7> kSuffixes = {".pt", ".ckpt", ".gguf", ".onnx", ".h5", ".pkl", ".json"};
  return std::ranges::find(kSuffixes, ending_of(target)) != kSuffixes.end();
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

/// The model's own form: the shapes do not tell all settings (head counts), so the configuration lies beside.
std::vector<fs::path> export_pth(const fs::path& target, const StateDict& state, const std::string& config) {
  fs::path beside = target;
  beside.replace_extension(".json");
  detail::require_replaceable_config(beside);
  write_pth(target, state);
  write_file_atomically(beside, config);
  return {target, beside};
}

std::vector<fs::path> export_folder(const ExportOptions& options, const StateDict& state, const std::string& config,
                                    const std::map<std::string, std::string>& metadata) {
  const fs::path& folder = options.target;
  const std::string weights = options.weights == "bin" ? "pytorch_model.bin" : "model.safetensors";
  detail::require_room_in_folder(folder, weights);
  std::vector<fs::path> tokenizer;
  if (!options.tokenizer.empty()) {
    tokenizer = detail::tokenizer_files(options.tokenizer);
  }
  ensure_writable_folder(folder);
  std::vector<fs::path> written = {folder / weights, folder / "config.json"};
  if (options.weights == "bin") {
    write_pth(written[0], state);
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
  export_dtype(options.dtype);  // an unknown one ends here
  require(options.weights == "safetensors" || options.weights == "bin", "weights: expected safetensors or bin, found ",
          options.weights);
  require(!looks_like_a_file(options.target), options.target.string(),
          ": expected NAME.pth, NAME.bin, NAME.safetensors or a folder to be written, found the name of another kind "
          "of file");
  require(options.tokenizer.empty() || exports_folder(options.target), options.target.string(),
          ": expected a folder, where a tokenizer can lie, found one file; leave --tokenizer out");
  Vlm model(source.config);
  LoadOptions contract;
  contract.allow_missing = options.allow_missing;
  const LoadReport report = load_vlm(*model, source.state, source.weights.string(), contract);
  log_info(concat(source.weights.string(), ":\n", report.summary()));
  const StateDict state = converted(vlm_state_dict(*model), options.dtype, !report.lacks_projection());
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
