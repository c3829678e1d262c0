#include "train/checkpoint_folder.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string_view>
#include <system_error>
#include <utility>

#include "minimind/base/error.h"
#include "minimind/base/file.h"
#include "minimind/base/log.h"

namespace minimind {
namespace {

constexpr std::string_view kBegin = "step_";
constexpr std::string_view kEnd = ".safetensors";
constexpr size_t kDigits = 12;

std::string checkpoint_name(int64_t step) {
  char name[64];
  std::snprintf(name, sizeof(name), "step_%012lld.safetensors", static_cast<long long>(step));
  return name;
}

/// A copy that somebody made under a name of his own is not ours to remove.
bool is_checkpoint_name(std::string_view name) {
  return name.size() == kBegin.size() + kDigits + kEnd.size() && name.starts_with(kBegin) && name.ends_with(kEnd) &&
         std::ranges::all_of(name.substr(kBegin.size(), kDigits), [](char c) { return c >= '0' && c <= '9'; });
}

/// Seconds since 1970; 0 if the file is gone.
double written_at(const std::filesystem::path& path) {
  std::error_code error;
  const auto time = std::filesystem::last_write_time(path, error);
  return error ? 0 : std::chrono::duration<double>(std::chrono::file_clock::to_sys(time).time_since_epoch()).count();
}

/// What has the new checkpoint's name and is none of this stage, or is damaged, is kept under another name.
void set_aside(const std::filesystem::path& path, const std::string& stage) {
  std::error_code error;
  if (!std::filesystem::exists(path, error) || checkpoint_stage(path) == stage) {
    return;
  }
  std::filesystem::path aside = path;
  aside += ".set_aside";
  std::filesystem::rename(path, aside, error);
  require(!error, path.string(), ": expected to set aside a file that is no checkpoint of ", stage,
          ", found: ", error.message(), "; move it elsewhere");
  log_warning(concat(path.string(), ": no checkpoint of ", stage, ", or a damaged one; it is now ", aside.string()));
}

}  // namespace

CheckpointFolder::CheckpointFolder(std::filesystem::path folder, std::string stage, int64_t keep_last)
    : folder_(std::move(folder)), stage_(std::move(stage)), keep_last_(keep_last) {}

std::vector<std::filesystem::path> CheckpointFolder::list() const {
  std::vector<std::filesystem::path> found;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder_, error)) {
    if (is_checkpoint_name(entry.path().filename().string())) {
      found.push_back(entry.path());
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::vector<std::filesystem::path> CheckpointFolder::own() const {
  return begins_anew_ ? std::vector<std::filesystem::path>() : list();
}

bool CheckpointFolder::holds(const std::filesystem::path& file) const {
  std::error_code ignored;
  const auto is_here = [&](const std::filesystem::path& path) {
    return !path.empty() && std::filesystem::equivalent(path.parent_path(), folder_, ignored);
  };
  return !file.empty() &&
         (is_here(std::filesystem::absolute(file, ignored)) || is_here(std::filesystem::canonical(file, ignored)));
}

void CheckpointFolder::save(const CheckpointInfo& info, const StateDict& state, bool is_doubtful) {
  std::error_code ignored;
  std::filesystem::create_directories(folder_, ignored);
  const std::filesystem::path path = folder_ / checkpoint_name(info.position.step);
  set_aside(path, stage_);
  try {
    write_checkpoint(path, info, state);
  } catch (const Error& error) {
    fail(error.what(), "; the checkpoints before it stand: --resume goes on from the last one, a smaller --keep_last ",
         "needs less space");
  }
  remove_superseded(path, is_doubtful);
}

void CheckpointFolder::remove_superseded(const std::filesystem::path& newest, bool is_doubtful) {
  std::vector<std::filesystem::path> kept = list();
  std::erase_if(kept, [&](const auto& path) { return checkpoint_stage(path) != stage_; });
  std::error_code ignored;
  // Later ones are of a course that the run has left: they would be taken for the newest.
  std::erase_if(kept, [&](const auto& path) {
    const bool goes = path > newest || (begins_anew_ && path != newest);
    return goes && std::filesystem::remove(path, ignored);
  });
  begins_anew_ = false;
  for (size_t i = 0; !is_doubtful && i + static_cast<size_t>(keep_last_) < kept.size(); ++i) {
    std::filesystem::remove(kept[i], ignored);
  }
}

std::optional<Checkpoint> CheckpointFolder::newest(const std::optional<AttemptTimes>& times) const {
  std::vector<std::filesystem::path> paths = list();
  std::erase_if(paths, [&](const auto& path) {
    return times && (written_at(path) < times->first || written_at(path) > times->current);
  });
  for (auto path = paths.rbegin(); path != paths.rend(); ++path) {
    try {
      Checkpoint found = read_checkpoint(*path);
      require(found.info.stage == stage_, path->string(), ": expected a checkpoint of ", stage_, ", found one of ",
              found.info.stage);
      return found;
    } catch (const Error& error) {
      log_warning(concat(error.what(), path + 1 != paths.rend() ? "; trying the checkpoint before it" : ""));
    }
  }
  require(paths.empty(), folder_.string(), ": expected a checkpoint to resume from that can be read, found ",
          paths.size(),
          " that cannot (see above); put a sound copy of one there, or start anew with another --out_dir, ",
          "or here with --overwrite and without --resume");
  return std::nullopt;
}

}  // namespace minimind
