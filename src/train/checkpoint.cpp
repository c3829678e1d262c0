#include "train/checkpoint.h"

#include <ATen/ops/empty.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "base/json_limits.h"
#include "io/checkpoint_keys.h"
#include "io/safetensors.h"
#include "io/state_dict_file.h"
#include "io/tensor_hash.h"
#include "minimind/base/content_hash.h"
#include "minimind/base/error.h"

namespace minimind {
namespace {

constexpr const char* kDigestKey = "minimind_digest";
constexpr int kVersion = 3;

std::string info_to_json(const CheckpointInfo& info) {
  nlohmann::ordered_json json;
  json["version"] = kVersion;
  json["stage"] = info.stage;
  json["epoch"] = info.position.epoch;
  json["group"] = info.position.group;
  json["step"] = info.position.step;
  json["world_size"] = info.world_size;
  json["threads"] = info.threads;
  json["samples"] = info.samples;
  json["data_digest"] = info.data_digest;
  json["tokenizer_digest"] = info.tokenizer_digest;
  json["order_block"] = info.order_block;
  json["config"] = info.config;
  json["options"] = info.options;
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

/// Over description, names, types, shapes and numbers, whatever the order in the file.
std::string digest_of(const std::string& description, const StateDict& state) {
  return to_hex(hash_tensors(state.entries(), hash_content(description)));
}

/// A `.pth` is a zip archive.
bool holds_pth(const std::filesystem::path& path) {
  std::ifstream input(path, std::ios::binary);
  char magic[4] = {};
  return input.read(magic, sizeof(magic)) && std::string_view(magic, sizeof(magic)) == "PK\x03\x04";
}

CheckpointInfo info_from_json(const std::string& text, const std::string& where) {
  check_json_limits(text, where);
  try {
    const nlohmann::json json = nlohmann::json::parse(text);
    require(json.at("version") == kVersion, where, ": expected a checkpoint of version ", kVersion, ", found ",
            json.at("version").dump());
    CheckpointInfo info;
    info.stage = json.at("stage");
    info.position = {json.at("epoch"), json.at("group"), json.at("step")};
    info.world_size = json.at("world_size");
    info.threads = json.at("threads");
    info.samples = json.at("samples");
    info.data_digest = json.at("data_digest");
    info.tokenizer_digest = json.at("tokenizer_digest");
    info.order_block = json.at("order_block");
    info.config = json.at("config");
    info.options = json.at("options");
    return info;
  } catch (const nlohmann::json::exception& error) {
    fail(where, ": expected the description of a training checkpoint, found something else (", error.what(), ")");
  }
}

}  // namespace

std::string checkpoint_outline(const Checkpoint& checkpoint) {
  nlohmann::ordered_json json;
  json["path"] = checkpoint.path.string();
  json["info"] = info_to_json(checkpoint.info);
  for (const auto& [name, tensor] : checkpoint.state.entries()) {
    json["tensors"].push_back({name, static_cast<int>(tensor.scalar_type()), tensor.sizes().vec()});
  }
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

Checkpoint checkpoint_from_outline(const std::string& outline) {
  const nlohmann::json json = nlohmann::json::parse(outline);
  Checkpoint checkpoint;
  checkpoint.path = json.at("path").get<std::string>();
  checkpoint.info = info_from_json(json.at("info"), checkpoint.path.string());
  for (const nlohmann::json& tensor : json.at("tensors")) {
    const auto type = static_cast<at::ScalarType>(tensor.at(1).get<int>());
    checkpoint.state.add(tensor.at(0), at::empty(tensor.at(2).get<std::vector<int64_t>>(), at::TensorOptions(type)));
  }
  return checkpoint;
}

void write_checkpoint(const std::filesystem::path& path, const CheckpointInfo& info, const StateDict& state) {
  const std::string description = info_to_json(info);
  write_safetensors(path, state, {{kCheckpointMetadataKey, description}, {kDigestKey, digest_of(description, state)}});
}

Checkpoint read_checkpoint(const std::filesystem::path& path) {
  require(!holds_pth(path), path.string(),
          ": expected a training checkpoint (step_*.safetensors), found weights (.pth); ",
          "--init_from starts a run from weights, --resume alone goes on from the newest checkpoint");
  const std::map<std::string, std::string> metadata = read_safetensors_metadata(path);
  const auto found = metadata.find(kCheckpointMetadataKey);
  require(found != metadata.end(), path.string(),
          ": expected a training checkpoint (step_*.safetensors of --out_dir), found a file without ",
          kCheckpointMetadataKey, "; weights alone go to --init_from");
  CheckpointInfo info = info_from_json(found->second, path.string());
  StateDict state = read_state_dict(path);
  const auto digest = metadata.find(kDigestKey);
  require(digest != metadata.end() && digest->second == digest_of(found->second, state), path.string(),
          ": expected the content that was written, found another (its checksum differs); the file is damaged, take "
          "the checkpoint before it or a copy");
  return {std::move(info), std::move(state), path};
}

std::optional<std::string> checkpoint_stage(const std::filesystem::path& path) {
  try {
    const std::map<std::string, std::string> metadata = read_safetensors_metadata(path);
    const auto found = metadata.find(kCheckpointMetadataKey);
    return found != metadata.end() ? std::optional(info_from_json(found->second, path.string()).stage) : std::nullopt;
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace minimind
