#include "minimind/train/checkpoint.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "minimind/base/error.h"
#include "minimind/base/file.h"
#include "minimind/base/json_guard.h"
#include "minimind/base/log.h"

namespace minimind {
namespace {

constexpr const char* kMetadataKey = "minimind_checkpoint";
constexpr int kVersion = 2;

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
  json["order_block"] = info.order_block;
  json["config"] = info.config;
  json["options"] = info.options;
  return json.dump();
}

/// Seconds since 1970; 0 if the file is gone.
double written_at(const std::filesystem::path& path) {
  std::error_code error;
  const auto time = std::filesystem::last_write_time(path, error);
  return error ? 0 : std::chrono::duration<double>(std::chrono::file_clock::to_sys(time).time_since_epoch()).count();
}

/// Half-written files of a process that was killed while it saved.
void remove_leftovers(const std::filesystem::path& folder) {
  std::error_code ignored;
  std::vector<std::filesystem::path> found;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    if (entry.path().filename().string().find(".safetensors.tmp.") != std::string::npos) {
      found.push_back(entry.path());
    }
  }
  for (const std::filesystem::path& path : found) {
    std::filesystem::remove(path, ignored);
  }
}

CheckpointInfo info_from_json(const std::string& text, const std::string& where) {
  require_modest_json(text, where);
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
    info.order_block = json.at("order_block");
    info.config = json.at("config");
    info.options = json.at("options");
    return info;
  } catch (const nlohmann::json::exception& error) {
    fail(where, ": expected the description of a training checkpoint, found something else (", error.what(), ")");
  }
}

}  // namespace

CheckpointFolder::CheckpointFolder(std::filesystem::path folder, int64_t keep_last)
    : folder_(std::move(folder)), keep_last_(keep_last) {}

std::vector<std::filesystem::path> CheckpointFolder::list() const {
  std::vector<std::filesystem::path> found;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder_, error)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("step_") && name.ends_with(".safetensors")) {
      found.push_back(entry.path());
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

void CheckpointFolder::save(const CheckpointInfo& info, const StateDict& state) {
  std::error_code ignored;
  std::filesystem::create_directories(folder_, ignored);
  char name[64];
  std::snprintf(name, sizeof(name), "step_%012lld.safetensors", static_cast<long long>(info.position.step));
  write_safetensors(folder_ / name, state, {{kMetadataKey, info_to_json(info)}});
  remove_leftovers(folder_);
  std::vector<std::filesystem::path> kept = list();
  // Those of an earlier run that went further would be taken for the newest one.
  for (auto it = kept.begin(); it != kept.end();) {
    if (it->filename() > name) {
      std::filesystem::remove(*it, ignored);
      it = kept.erase(it);
    } else {
      ++it;
    }
  }
  for (size_t i = 0; i + static_cast<size_t>(keep_last_) < kept.size(); ++i) {
    std::filesystem::remove(kept[i], ignored);
  }
}

std::string checkpoint_outline(const Checkpoint& checkpoint) {
  nlohmann::ordered_json json;
  json["path"] = checkpoint.path.string();
  json["info"] = info_to_json(checkpoint.info);
  for (const auto& [name, tensor] : checkpoint.state.entries()) {
    json["tensors"].push_back({name, static_cast<int>(tensor.scalar_type()), tensor.sizes().vec()});
  }
  return json.dump();
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

Checkpoint read_checkpoint(const std::filesystem::path& path) {
  const std::map<std::string, std::string> metadata = read_safetensors_metadata(path);
  const auto found = metadata.find(kMetadataKey);
  require(found != metadata.end(), path.string(),
          ": expected a training checkpoint (step_*.safetensors of --out_dir), found a file without ", kMetadataKey,
          "; weights alone go to --init_from");
  return {info_from_json(found->second, path.string()), read_state_dict(path), path};
}

std::optional<Checkpoint> newest_checkpoint(const CheckpointFolder& folder, double since) {
  std::vector<std::filesystem::path> paths = folder.list();
  std::erase_if(paths, [&](const auto& path) { return written_at(path) < since; });
  for (auto path = paths.rbegin(); path != paths.rend(); ++path) {
    try {
      return read_checkpoint(*path);
    } catch (const Error& error) {
      log_warning(concat(error.what(), "; trying the checkpoint before it"));
    }
  }
  return std::nullopt;
}

}  // namespace minimind
