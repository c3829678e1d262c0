#include "minimind/train/trainer.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>

#include <optional>
#include <utility>

#include "minimind/base/error.h"
#include "minimind/base/file.h"
#include "minimind/base/log.h"
#include "minimind/base/progress.h"
#include "minimind/train/agreement.h"
#include "minimind/train/check_data.h"
#include "minimind/train/plan.h"
#include "minimind/train/resume.h"
#include "minimind/train/training_loop.h"
#include "minimind/train/wandb.h"

namespace minimind {

TrainResult train(const TrainOptions& options, Stage stage, ProcessGroup& group,
                  const std::function<void(const StepReport&)>& on_step) {
  require_equal_options(options, stage, group);
  ensure_writable_folder(options.out_dir);
  if (options.threads > 0) {
    at::set_num_threads(static_cast<int>(options.threads));
  }
  at::manual_seed(static_cast<uint64_t>(options.seed + group.rank()));
  const std::optional<Checkpoint> checkpoint = agreed_checkpoint(options, stage, group);
  const c10::Device device = training_device(options.device, group.info().local_rank);
  TrainingSetup setup = make_setup(options, stage, device, checkpoint ? &*checkpoint : nullptr);
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
  TrainingLoop loop(options, stage, group, std::move(setup), checkpoint ? &*checkpoint : nullptr, on_step);
  return loop.run();
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
    log_info(concat(result.signal != 0 ? "stopped and saved" : "finished", ": ", result.steps, " steps, ",
                    result.samples, " samples in ", format_duration(result.seconds), ", last loss ", result.loss,
                    result.skipped > 0 ? concat(", ", result.skipped, " samples skipped") : "",
                    "; weights and curves in ", options.out_dir));
    if (options.use_wandb) {
      log_info("to upload the curves to Weights & Biases:\n" + wandb_command(options, stage));
    }
  }
  return result.signal != 0 ? 128 + result.signal : 0;
}

}  // namespace minimind
