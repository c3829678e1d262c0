#pragma once

#include <array>
#include <filesystem>
#include <string>
#include <vector>

#include "minimind/io/state_dict.h"
#include "minimind/model/load_report.h"
#include "minimind/model/vlm.h"

namespace minimind {

struct LoadOptions {
  bool allow_missing_projection = true;    ///< a language-only checkpoint: the projection keeps its initialisation
  std::vector<std::string> allow_missing;  ///< further keys or key prefixes that may be absent
  /// float32 parameters become the file's own tensors, memory-mapped and read-only; the other parameters are converted,
  /// and those that the file lacks are zero. For models that are not trained.
  bool map_weights = false;
};

/// The weights and the configuration of a model on disk.
struct ModelFile {
  std::filesystem::path weights;
  LmConfig config;
  bool config_is_given = false;  ///< false: deduced from the tensor shapes, head counts from the defaults
  StateDict state;               ///< tensors under the file's names, mapped; for load_vlm()
  std::string stage;             ///< `llm`, `vlm_pretrain`, `vlm_sft`, `vlm_sft_multi`; "" if name and file do not say
  std::string notice;            ///< what was assumed, for the user; "" if nothing was
};

/// Opens a `.pth`, a `.safetensors` file, a training checkpoint, or a Hugging Face folder (config.json and weights).
/// The configuration comes from the file, or from a JSON file beside it, or is deduced. Throws Error if nothing is
/// there, if the weights cannot be read, and if they are not a MiniMind-V model's.
ModelFile find_model(const std::filesystem::path& path);

/// The weight files that a Hugging Face folder may hold, in the order in which readers look for them. Weights in parts
/// have an index file: the same name and `.index.json`.
inline constexpr std::array<const char*, 2> kFolderWeights = {"model.safetensors", "pytorch_model.bin"};

/// The weight file of a Hugging Face folder, or the index of its parts. Throws Error if there is neither.
std::filesystem::path folder_weights(const std::filesystem::path& folder);

/// A warning for the user if the file's stage precedes the stage `meant`; empty if it fits or is unknown.
std::string stage_warning(const ModelFile& file, const std::string& meant);

/// Copies a state dict into the model: strips `_orig_mod.` and `module.`, skips `mask` and `pos_cis` leftovers, accepts
/// one of the tied pair (two must be equal). Throws Error, which lists keys, expected and found shapes and the likely
/// cause, if any other key does not fit; the model is unchanged then. `where` names the file.
LoadReport load_vlm(VlmImpl& model, const StateDict& state, const std::string& where, const LoadOptions& options = {});

/// All keys of a released `.pth`; output.weight and tok_embeddings.weight share their storage.
StateDict vlm_state_dict(const VlmImpl& model);

}  // namespace minimind
