#include <utility>

#include "base/log_origin.h"
#include "dist/local_launcher.h"
#include "dist/process_group.h"
#include "minimind/base/log.h"
#include "minimind/train/trainer.h"
#include "model/device.h"
#include "train/failure.h"
#include "train/report/metrics.h"
#include "train/setup.h"

namespace minimind {

int run_training(TrainOptions options, Stage stage) {
  options.validate();
  const RankInfo info = rank_from_environment();
  if (options.check_data) {
    return info.rank == 0 ? check_data(options, stage) : 0;
  }
  if (starts_local_ranks(options.processes, info)) {
    return run_local_ranks(options.processes, own_command());
  }
  if (info.rank != 0) {
    set_log_origin(rank_text(info));
  }
  const c10::Device device = device_of(options.device, info.local_rank, info.local_ranks);
  use_device(device);
  allow_tf32(device, options.tf32);
  ProcessGroup group(info, device);
  RunSummary summary;
  run_and_report_failure(group, [&] { summary = train(options, stage, group); });
  if (group.is_main() && !options.plan) {
    log_info(ending_summary(summary, options.out_dir));
    if (options.use_wandb && !summary.model.empty()) {
      log_info("to upload the curves to Weights & Biases:\n" + wandb_command(options, summary.model, stage));
    }
  }
  return summary.signal != 0 ? 128 + summary.signal : 0;
}

}  // namespace minimind
