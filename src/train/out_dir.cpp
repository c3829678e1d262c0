#include "train/out_dir.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <regex>
#include <system_error>
#include <thread>
#include <utility>

#include "io/pth.h"
#include "minimind/base/error.h"
#include "minimind/base/file.h"
#include "minimind/base/log.h"

namespace minimind {
namespace {

using Paths = std::vector<std::filesystem::path>;

/// Removes the files that a killed process was writing; they may be as large as the weights.
void remove_half_written_files(const std::filesystem::path& folder) {
  remove_stale_temporaries(folder);
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    if (entry.is_directory() && entry.path().filename().string().ends_with(kCheckpointFolderEnd)) {
      remove_stale_temporaries(entry.path());
    }
  }
}

std::string checkpoint_name(int64_t micro_step) {
  char name[64];
  std::snprintf(name, sizeof(name), "step_%012lld.safetensors", static_cast<long long>(micro_step));
  return name;
}

/// A copy with another name belongs to the user.
bool has_checkpoint_name(const std::filesystem::path& path) {
  static const std::regex kName("step_[0-9]{12}\\.safetensors");
  return std::regex_match(path.filename().string(), kName);
}

bool is_of_stage(const std::filesystem::path& path, const std::string& stage) {
  const std::optional<CheckpointInfo> info = read_checkpoint_info(path);
  return info && info->stage == stage;
}

/// Renames a file that has the name of a new checkpoint but is damaged, of another stage or of another program.
void set_aside(const std::filesystem::path& path, const std::string& stage) {
  std::error_code error;
  if (!std::filesystem::exists(path, error) || is_of_stage(path, stage)) {
    return;
  }
  std::filesystem::path aside = path;
  aside += ".set_aside";
  std::filesystem::rename(path, aside, error);
  require(!error, path.string(), ": expected to rename a file that is no checkpoint of ", stage,
          ", found: ", error.message(), "; move it elsewhere");
  log_warning(concat(path.string(), ": no readable checkpoint of ", stage, "; renamed to ", aside.string()));
}

/// The newest checkpoint of the stage in OUT_DIR, for the model that the flags name.
std::optional<Checkpoint> newest_in_out_dir(const TrainOptions& options, Stage stage,
                                            const CheckpointStore::RunFilter& counts = {}) {
  const std::string end = concat("_vlm_", stage_name(stage), kCheckpointFolderEnd);
  std::optional<Checkpoint> newest;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(options.out_dir, ignored)) {
    const std::string name = entry.path().filename().string();
    const bool matches_width = !options.model.dim || name.starts_with(concat(*options.model.dim, "_"));
    const bool matches_kind = !options.model.use_moe || name.ends_with("_moe" + end) == *options.model.use_moe;
    if (entry.is_directory() && name.ends_with(end) && matches_width && matches_kind) {
      const CheckpointStore store(entry.path(), stage_name(stage), options.keep_last);
      std::optional<Checkpoint> found = store.newest(counts);
      require(!found || !newest, options.out_dir,
              ": expected checkpoints of one model, found checkpoints of several models; give --dim and --use_moe true "
              "or false");
      newest = found ? std::move(found) : std::move(newest);
    }
  }
  return newest;
}

/// The checkpoint that --resume names.
std::optional<Checkpoint> named_checkpoint(const TrainOptions& options, Stage stage) {
  if (options.resume == "none") {
    return std::nullopt;
  }
  if (options.resume == "auto") {
    return newest_in_out_dir(options, stage);
  }
  const std::filesystem::path path = options.resume;
  require(std::filesystem::exists(path), path.string(), ": expected a checkpoint (--resume), found no such file");
  if (!std::filesystem::is_directory(path)) {
    return read_checkpoint(path);
  }
  std::optional<Checkpoint> found = CheckpointStore(path, stage_name(stage), options.keep_last).newest();
  require(found.has_value(), path.string(),
          ": expected checkpoints step_*.safetensors (--resume), found no checkpoint");
  return found;
}

/// Locks without waiting, then again and again for `patience`. False sets errno.
bool lock_file(int descriptor, std::chrono::seconds patience) {
  const auto end = std::chrono::steady_clock::now() + patience;
  while (::flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK || std::chrono::steady_clock::now() >= end) {
      return false;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  return true;
}

}  // namespace

RunLock::RunLock(const std::filesystem::path& folder, std::chrono::seconds patience) {
  const std::filesystem::path path = folder / ".lock";
  file_ = FileDescriptor(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
  if (file_.get() < 0 && errno == EACCES) {
    file_ = FileDescriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC));  // the file of another user in a shared folder
  }
  require(file_.get() >= 0, path.string(), ": cannot be written: ", std::strerror(errno), "; choose another --out_dir");
  if (lock_file(file_.get(), patience)) {
    char host[256] = {};
    ::gethostname(host, sizeof(host) - 1);
    // The name serves messages alone: a process that cannot write it still has the lock. A file of another kind stays.
    constexpr std::string_view kBegin = "process ";
    char begin[kBegin.size()] = {};
    const size_t size = read_up_to(file_.get(), begin, sizeof(begin), 0);
    const bool is_ours = std::string_view(begin, size) == kBegin.substr(0, size);
    if (is_ours && ::ftruncate(file_.get(), 0) == 0) {
      write_all(file_.get(), concat("process ", ::getpid(), " on ", host), 0);
    }
    remove_half_written_files(folder);
    return;
  }
  const int error = errno;
  // A network file system locks only files that the user may write.
  require(error != EBADF, path.string(),
          ": expected a lock file that this user may write, found a file of another user; choose another --out_dir");
  if (error == EWOULDBLOCK) {
    fail(folder.string(), ": expected no other run in this folder, found that ", read_file(path),
         " trains here; wait for its end, or choose another --out_dir");
  }
  log_warning(
      concat(path.string(), ": cannot be locked: ", std::strerror(error), "; start no second run in this folder"));
}

CheckpointStore::CheckpointStore(std::filesystem::path folder, std::string stage, int64_t keep_last)
    : folder_(std::move(folder)), stage_(std::move(stage)), keep_last_(keep_last) {}

Paths CheckpointStore::list() const {
  Paths found;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder_, ignored)) {
    if (has_checkpoint_name(entry.path())) {
      found.push_back(entry.path());
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::string CheckpointStore::newest_own_text() const {
  const Paths own = replaces_earlier_run_ ? Paths() : list();
  return own.empty() ? "no checkpoint was written before these steps"
                     : concat("the last checkpoint before these steps is ", own.back().string(),
                              own.size() > 1 ? " (--resume FILE continues from an older checkpoint)" : "");
}

bool CheckpointStore::holds(const std::filesystem::path& file) const {
  std::error_code ignored;
  const auto is_here = [&](const std::filesystem::path& path) {
    return !path.empty() && std::filesystem::equivalent(path.parent_path(), folder_, ignored);
  };
  return !file.empty() &&
         (is_here(std::filesystem::absolute(file, ignored)) || is_here(std::filesystem::canonical(file, ignored)));
}

void CheckpointStore::save(const CheckpointInfo& info, const StateDict& state, bool is_unverified) {
  std::error_code ignored;
  std::filesystem::create_directories(folder_, ignored);
  const std::filesystem::path path = folder_ / checkpoint_name(info.position.micro_step);
  set_aside(path, stage_);
  try {
    write_checkpoint(path, info, state);
  } catch (const Error& error) {
    fail(error.what(), "; older checkpoints stay: continue with --resume; a smaller --keep_last needs less space");
  }
  remove_superseded(path, is_unverified);
}

void CheckpointStore::remove_superseded(const std::filesystem::path& newest, bool is_unverified) {
  Paths kept = list();
  std::erase_if(kept, [&](const auto& path) { return !is_of_stage(path, stage_); });
  std::error_code ignored;
  // Checkpoints of later steps are from a course that the run has left: --resume would take the newest of them.
  std::erase_if(kept, [&](const auto& path) {
    const bool is_left = path > newest || (replaces_earlier_run_ && path != newest);
    return is_left && std::filesystem::remove(path, ignored);
  });
  replaces_earlier_run_ = false;
  for (size_t i = 0; !is_unverified && i + static_cast<size_t>(keep_last_) < kept.size(); ++i) {
    std::filesystem::remove(kept[i], ignored);
  }
}

std::optional<Checkpoint> CheckpointStore::newest(const RunFilter& counts) const {
  Paths paths = list();
  std::erase_if(paths, [&](const auto& path) {
    const std::optional<CheckpointInfo> info = counts ? read_checkpoint_info(path) : std::nullopt;
    return counts && (!info || !counts(info->run_id));
  });
  for (auto path = paths.rbegin(); path != paths.rend(); ++path) {
    try {
      Checkpoint found = read_checkpoint(*path);
      require(found.info.stage == stage_, path->string(), ": expected a checkpoint of ", stage_,
              ", found a checkpoint of ", found.info.stage);
      return found;
    } catch (const Error& error) {
      log_warning(concat(error.what(), path + 1 != paths.rend() ? "; trying the checkpoint before it" : ""));
    }
  }
  require(paths.empty(), folder_.string(), ": expected a readable checkpoint to resume from, found ", paths.size(),
          " unreadable checkpoints (see above); put an intact copy there, start a new run with another --out_dir, ",
          "or start a new run here with --overwrite and without --resume");
  return std::nullopt;
}

void write_weights(const std::filesystem::path& out_dir, const std::string& stem, const LmConfig& config,
                   const StateDict& weights) {
  // The shapes of the tensors do not tell the numbers of heads: the configuration does.
  const std::string text = lm_config_to_json(config) + "\n";
  write_file_atomically(out_dir / (stem + ".json"), text);
  write_pth(out_dir / (stem + ".pth"), weights, text);
}

std::optional<Checkpoint> find_checkpoint(const TrainOptions& options, Stage stage, ProcessGroup& group) {
  std::optional<Checkpoint> found;
  if (!group.run_id().empty() && options.resume != "auto") {
    found = newest_in_out_dir(options, stage, [&](const std::string& run_id) { return run_id == group.run_id(); });
  }
  if (group.is_main() && !found) {
    found = named_checkpoint(options, stage);
  }
  const std::string path = group.broadcast(found ? found->path.string() : "");
  const std::string info = group.broadcast(found ? fields_to_json(found->info.fields()) : "");
  if (!path.empty() && !found) {
    found.emplace().path = path;
    fields_from_json(found->info.fields(), info, path);
  }
  return found;
}

int64_t completed_before_restart(const TrainOptions& options, Stage stage, ProcessGroup& group) {
  std::optional<Checkpoint> last;
  if (group.is_restarted() && options.resume != "auto") {
    last = newest_in_out_dir(options, stage, [&](const std::string& run_id) { return group.has_completed(run_id); });
  }
  return group.sum(last ? last->info.position.micro_step : int64_t{0});
}

void check_nothing_is_replaced(const TrainOptions& options, Stage stage, const LmConfig& config,
                               const std::filesystem::path& resumed) {
  const CheckpointStore store(checkpoint_folder(options, config, stage), stage_name(stage), options.keep_last);
  if (options.overwrite || store.holds(resumed)) {
    return;
  }
  constexpr const char* kCure = "choose another --out_dir, or replace them with --overwrite";
  if (const Paths kept = store.list(); !kept.empty()) {
    fail(store.path().string(), ": expected no checkpoints of an earlier run, found ", kept.size(), " (the last one ",
         kept.back().filename().string(), "); continue that run with --resume, ", kCure);
  }
  const std::filesystem::path weights = std::filesystem::path(options.out_dir) / (output_stem(config, stage) + ".pth");
  require(!std::filesystem::exists(weights), weights.string(),
          ": expected no weights of an earlier run, found this file; ", kCure);
}

}  // namespace minimind
