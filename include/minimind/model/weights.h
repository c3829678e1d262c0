#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "minimind/io/state_dict.h"
#include "minimind/model/clip_vision.h"
#include "minimind/model/vlm.h"

namespace minimind {

/// The safetensors metadata that marks a training checkpoint: a JSON object whose `config` is the model's configuration
/// as text. Its tensors `model.*` are the model's.
inline constexpr const char* kCheckpointMetadataKey = "minimind_checkpoint";

struct LoadOptions {
  bool allow_missing_projection = true;    ///< a language-only checkpoint: the projection keeps its initialisation
  std::vector<std::string> allow_missing;  ///< further keys or key prefixes that may be absent
  /// The parameters become the file's own tensors, mapped and read-only, where those are float32: for models that are
  /// only used. What the file lacks is zero.
  bool share_file = false;
};

/// What a load found; printed by every load. Counts by module (`layers`, `vision_proj`, …).
struct LoadReport {
  struct Counts {
    int64_t matched = 0, missing = 0, unexpected = 0, wrong_shape = 0, skipped = 0;
  };
  std::map<std::string, Counts> modules;
  std::vector<std::string> missing_allowed;
  Counts total() const;
  /// One line a module, without a newline at the end.
  std::string summary() const;
  /// The file held no vision_proj.*: a language-only checkpoint.
  bool lacks_projection() const;
};

/// A model folder or file: `*.pth`, `*.safetensors`, a Hugging Face folder (config.json + weights), or a checkpoint of
/// ours (which knows its config). The config is read where one lies beside or inside, and deduced from the tensor
/// shapes where not (head counts from the defaults).
struct ModelFile {
  std::filesystem::path weights;
  LmConfig config;
  bool config_is_given = false;
  StateDict state;    ///< the tensors as the file names them, mapped: hand it to load_vlm()
  std::string stage;  ///< `llm`, `vlm_pretrain`, `vlm_sft` or `vlm_sft_multi` where the name or the file tells; else ""
  std::string notice;  ///< what was assumed, for the user to see; "" where the file tells everything
};
/// Throws Error where nothing is found, where the weights cannot be read and where they are not this model's.
ModelFile find_model(const std::filesystem::path& path);

/// A sentence for the user when a file of another stage than `meant` was given (a pretrain file where sft was meant);
/// empty when the stage fits or is unknown. Later stages serve where earlier ones are meant.
std::string stage_warning(const ModelFile& file, const std::string& meant);

/// Copies a state dict into the model: strips `_orig_mod.` and `module.`, skips `mask` and `pos_cis` leftovers, accepts
/// one of the tied pair (two must be equal). Refuses whatever else does not fit with one Error that lists keys,
/// expected and found shapes and the likely cause. `where` names the file.
LoadReport load_vlm(VlmImpl& model, const StateDict& state, const std::string& where, const LoadOptions& options = {});

/// All keys of a released `.pth`, output.weight and tok_embeddings.weight sharing storage.
StateDict vlm_state_dict(const VlmImpl& model);

/// Reads config.json, preprocessor_config.json's mean and std and the weights (model.safetensors, else
/// pytorch_model.bin) of a CLIP folder (vision-only or full). The text tower and other known leftovers are skipped.
/// share_file: as in LoadOptions. options.mean and options.std are replaced by the folder's, if it names them.
ClipVision load_clip_vision(const std::filesystem::path& clip_dir, LoadReport* report = nullptr,
                            bool share_file = false, ClipVisionOptions options = {});

}  // namespace minimind
