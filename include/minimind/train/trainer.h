#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "minimind/train/options.h"

namespace minimind {

class ProcessGroup;

/// What the trainer tells after every optimiser step; for tests and benchmarks.
struct StepReport {
  int64_t epoch = 0;
  int64_t step = 0;  ///< micro-batches of each rank done, this step's included
  double learning_rate = 0;
  double loss = 0;       ///< mean cross-entropy of this rank's part
  double grad_norm = 0;  ///< before clipping
  int64_t samples = 0;   ///< all ranks
};

struct TrainResult {
  int64_t steps = 0;      ///< micro-batches of each rank, earlier parts of a resumed run included
  double seconds = 0;     ///< of this part
  double loss = 0;        ///< mean of the last tenth of the logged losses
  int64_t samples = 0;    ///< seen in this part, all ranks
  int64_t left_out = 0;   ///< optimiser steps of this part whose loss or gradient was not finite
  int64_t skipped = 0;    ///< samples left out as unusable, this rank
  std::string model;      ///< see model_name()
  int signal = 0;         ///< the signal that ended the run early; 0: it went to its end
  bool is_saved = false;  ///< checkpoint and weights are those of its last step
};

/// One training run: data → features → step → checkpoints, metrics and the final `.pth`. With --plan it prints the
/// memory table and ends instead. Throws Error; then nothing is half-written. The callback, if any, makes the run read
/// every loss at once (on CUDA: slower).
TrainResult train(const TrainOptions& options, Stage stage, ProcessGroup& group,
                  const std::function<void(const StepReport&)>& on_step = {});

/// The last line that a run prints.
std::string ending_in_words(const TrainResult& result, const std::string& out_dir);

/// The whole of a training program after its flags are read: device, processes, run or --check_data. Returns the exit
/// code: 128 + signal after SIGINT or SIGTERM.
int run_training(TrainOptions options, Stage stage);

}  // namespace minimind
