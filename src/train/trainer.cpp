#include "minimind/train/trainer.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>

#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include "base/primitive_cache.h"
#include "base/progress.h"
#include "dist/process_group.h"
#include "minimind/base/error.h"
#include "minimind/base/file.h"
#include "minimind/base/log.h"
#include "train/agreement.h"
#include "train/check_data.h"
#include "train/plan.h"
#include "train/resume.h"
#include "train/run_lock.h"
#include "train/training_loop.h"
#include "train/wandb.h"

namespace minimind {

namespace {

/// Half-written files of a process that was killed while it saved; they may be as large as the weights.
void remove_leftovers(const std::filesystem::path& out_dir) {
  remove_stale_temporaries(out_dir);
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(out_dir, ignored)) {
    if (entry.is_directory() && entry.path().filename().string().ends_with(kCheckpointFolderEnd)) {
      remove_stale_temporaries(entry.path());
    }
  }
}

}  // namespace

TrainResult train(const TrainOptions& options, Stage stage, ProcessGroup& group,
                  const std::function<void(const StepReport&)>& on_step) {
  require_equal_options(options, stage, group);
  ensure_writable_folder(options.out_dir);
  std::optional<RunLock> lock;
  if (group.is_main() && !options.plan) {
    lock.emplace(options.out_dir);
    remove_leftovers(options.out_dir);
  }
  if (options.threads > 0) {
    at::set_num_threads(static_cast<int>(options.threads));
  }
  at::manual_seed(static_cast<uint64_t>(options.seed + group.rank()));
  const std::optional<Checkpoint> checkpoint = agreed_checkpoint(options, stage, group);
  const c10::Device device = training_device(options.device, group.info().local_rank);
  TrainingSetup setup = make_setup(options, stage, device, checkpoint ? &*checkpoint : nullptr);
  if (setup.device.is_cpu() && setup.dtype == at::kBFloat16) {
    limit_primitive_cache();
  }
  if (group.world_size() > 1) {
    require_equal_contents(contents_of(setup), group);
  }
  setup.order_block = checkpoint ? checkpoint->info.order_block : options.batch_size * group.world_size();
  if (checkpoint) {
    check_resumable(*checkpoint, options, stage, setup);
    if (checkpoint->info.threads != at::get_num_threads()) {
      log_warning(
          concat("resuming with ", at::get_num_threads(), " threads after ", checkpoint->info.threads,
                 ": the numbers may differ in their last digits from those of an uninterrupted run (--threads)"));
    }
    log_info(concat("resuming from ", checkpoint->path.string(), ": epoch ", checkpoint->info.position.epoch, ", step ",
                    checkpoint->info.position.step));
  }
  if (options.plan) {
    plan_memory(options, stage, setup, group);
    return {};
  }
  if (group.is_main()) {
    check_nothing_is_replaced(options, stage, setup.config(), checkpoint ? checkpoint->path : "");
  }
  TrainingLoop loop(options, stage, group, std::move(setup), checkpoint ? &*checkpoint : nullptr, on_step);
  return loop.run();
}

std::string ending_in_words(const TrainResult& result, const std::string& out_dir) {
  if (result.signal == 0 && result.samples == 0) {
    return concat("finished before: ", result.steps, " steps, nothing is left to do; more --epochs (or --max_steps) ",
                  "make the run longer; weights and curves in ", out_dir);
  }
  return concat(result.signal == 0 ? "finished"
                : result.is_saved  ? "stopped and saved"
                                   : "stopped, not saved",
                ": ", result.steps, " steps, ", result.samples, " samples in ", format_duration(result.seconds),
                ", last loss ", result.loss, result.skipped > 0 ? concat(", ", result.skipped, " samples skipped") : "",
                result.left_out > 0 ? concat(", ", result.left_out, " steps left out as not finite") : "",
                result.signal == 0 || result.is_saved ? "; weights and curves in " : "; curves in ", out_dir);
}

int run_training(TrainOptions options, Stage stage) {
  options.validate();
  const RankInfo info = rank_from_environment();
  if (options.check_data) {
    return info.rank == 0 ? check_data(options, stage) : 0;
  }
  const c10::Device device = training_device(options.device, info.local_rank);
  ProcessGroup group(info, device);
  TrainResult result;
  try {
    result = train(options, stage, group);
  } catch (const LostRank&) {
    throw;
  } catch (const std::exception& error) {
    group.report_failure(error.what());
    throw;
  }
  if (options.plan) {
    return 0;
  }
  if (group.is_main()) {
    log_info(ending_in_words(result, options.out_dir));
    if (options.use_wandb) {
      log_info("to upload the curves to Weights & Biases:\n" + wandb_command(options, result.model, stage));
    }
  }
  return result.signal != 0 ? 128 + result.signal : 0;
}

}  // namespace minimind
