#include "train/checkpoint.h"

#include <map>
#include <utility>

#include "base/json.h"
#include "io/checkpoint_keys.h"
#include "io/mapped_pages.h"
#include "io/pth.h"
#include "io/safetensors.h"
#include "io/state_dict_file.h"
#include "minimind/base/content_hash.h"
#include "minimind/base/error.h"

namespace minimind {
namespace {

constexpr const char* kDigestKey = "minimind_digest";

CheckpointInfo info_from_json(const std::string& text, const std::string& where) {
  check_json_limits(text, where);
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  require(json.is_object() && json.contains("version"), where,
          ": expected a JSON object with the version of the checkpoint, found ",
          json.is_discarded() ? "malformed JSON" : "no version");
  require(json["version"] == CheckpointInfo::kVersion, where, ": expected a checkpoint of version ",
          CheckpointInfo::kVersion, ", found version ", json["version"].dump(),
          "; finish the run with the program that wrote it, or start a new run from its weights (--init_from)");
  CheckpointInfo info;
  fields_from_json(info.fields(), text, where);
  return info;
}

/// Covers description, names, dtypes, shapes and numbers; does not depend on the order in the file.
std::string digest_of(const std::string& description, const StateDict& state) {
  return to_hex(hash_tensors(state.entries(), hash_content(description)));
}

}  // namespace

Fields CheckpointInfo::fields() {
  return {{"version", &version, "", {}},
          {"run_id", &run_id, "", {}},
          {"stage", &stage, "", {}},
          {"epoch", &position.epoch, "", {}},
          {"micro_batch", &position.micro_batch, "", {}},
          {"micro_step", &position.micro_step, "", {}},
          {"world_size", &world_size, "", {}},
          {"threads", &threads, "", {}},
          {"matmul_dtype", &matmul_dtype, "", {}},
          {"samples", &samples, "", {}},
          {"data_digest", &data_digest, "", {}},
          {"tokenizer_digest", &tokenizer_digest, "", {}},
          {"order_block", &order_block, "", {}},
          {"config", &config, "", {}},
          {"options", &options, "", {}}};
}

void write_checkpoint(const std::filesystem::path& path, CheckpointInfo info, const StateDict& state) {
  const std::string description = fields_to_json(info.fields());
  write_safetensors(path, state, {{kCheckpointMetadataKey, description}, {kDigestKey, digest_of(description, state)}});
}

Checkpoint read_checkpoint(const std::filesystem::path& path) {
  require(!is_zip(MappedFile(path)), path.string(),
          ": expected a training checkpoint (step_*.safetensors), found weights (.pth); start a run from weights with "
          "--init_from, or continue from the newest checkpoint with --resume alone");
  std::map<std::string, std::string> metadata = read_safetensors_metadata(path);
  require(metadata.contains(kCheckpointMetadataKey), path.string(),
          ": expected a training checkpoint (step_*.safetensors of --out_dir), found a file without ",
          kCheckpointMetadataKey, "; start a run from weights with --init_from");
  Checkpoint checkpoint{info_from_json(metadata[kCheckpointMetadataKey], path.string()), read_state_dict(path), path};
  const std::string digest = digest_of(metadata[kCheckpointMetadataKey], checkpoint.state);
  require(metadata[kDigestKey] == digest, path.string(), ": expected content with the checksum ", metadata[kDigestKey],
          ", found ", digest, "; the file is damaged: take an older checkpoint or a copy");
  return checkpoint;
}

std::optional<CheckpointInfo> read_checkpoint_info(const std::filesystem::path& path) {
  try {
    std::map<std::string, std::string> metadata = read_safetensors_metadata(path);
    return info_from_json(metadata[kCheckpointMetadataKey], path.string());
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace minimind
