#include <exception>

#include "base/progress.h"
#include "dist/process_group.h"
#include "minimind/base/error.h"
#include "minimind/base/log.h"
#include "minimind/train/trainer.h"
#include "model/device.h"
#include "train/plan/check_data.h"
#include "train/report/wandb.h"

namespace minimind {

std::string ending_summary(const RunSummary& summary, const std::string& out_dir) {
  if (summary.signal == 0 && summary.samples == 0) {
    return concat("finished before: ", summary.micro_steps, " micro-steps; a larger --epochs or --max_steps continues ",
                  "the run; weights and curves in ", out_dir);
  }
  const bool has_weights = summary.signal == 0 || summary.is_saved;
  return concat(summary.signal == 0 ? "finished"
                : summary.is_saved  ? "stopped and saved"
                                    : "stopped, not saved",
                ": ", summary.micro_steps, " micro-steps, ", summary.samples, " samples in ",
                format_duration(summary.seconds), ", last loss ", summary.loss,
                summary.skipped_samples > 0 ? concat(", ", summary.skipped_samples, " samples skipped") : "",
                summary.skipped_steps > 0 ? concat(", ", summary.skipped_steps, " non-finite steps skipped") : "",
                has_weights ? "; weights and curves in " : "; curves in ", out_dir);
}

int run_training(TrainOptions options, Stage stage) {
  options.validate();
  const RankInfo info = rank_from_environment();
  if (options.check_data) {
    return info.rank == 0 ? check_data(options, stage) : 0;
  }
  ProcessGroup group(info, device_of(options.device, info.local_rank));
  RunSummary summary;
  try {
    summary = train(options, stage, group);
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
    log_info(ending_summary(summary, options.out_dir));
    if (options.use_wandb) {
      log_info("to upload the curves to Weights & Biases:\n" + wandb_command(options, summary.model, stage));
    }
  }
  return summary.signal != 0 ? 128 + summary.signal : 0;
}

}  // namespace minimind
