#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "minimind/base/stage.h"
#include "minimind/train/options.h"

namespace minimind {

class ProcessGroup;
struct MetricsRecord;

/// What a run has done.
struct RunSummary {
  std::string model;            ///< model_name()
  int64_t micro_steps = 0;      ///< of each rank, earlier parts of a resumed run included
  double seconds = 0;           ///< of this part of the run
  double loss = 0;              ///< of the last log line
  int64_t samples = 0;          ///< of all ranks in this part of the run
  int64_t skipped_steps = 0;    ///< optimiser steps with a non-finite loss or gradient in this part of the run
  int64_t skipped_samples = 0;  ///< unusable samples of this rank
  int signal = 0;               ///< the signal that stopped the run; 0: the run is complete
  bool is_saved = false;        ///< checkpoint and weights of the last step were written
};

/// One training run: data, features, steps, checkpoints, metrics and the final `.pth`. With --plan it only prints the
/// memory table. `on_record`: gets the metrics of every step on rank 0. Throws Error; then no file is half-written.
RunSummary train(const TrainOptions& options, Stage stage, ProcessGroup& group,
                 const std::function<void(const MetricsRecord&)>& on_record = {});

/// The last line that a run prints.
std::string ending_summary(const RunSummary& summary, const std::string& out_dir);

/// A training program after its flags are read: processes, then the run or --check_data. Returns the exit code:
/// 128 + signal after SIGINT or SIGTERM.
int run_training(TrainOptions options, Stage stage);

}  // namespace minimind
