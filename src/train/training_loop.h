#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "dist/process_group.h"
#include "minimind/data/loader.h"
#include "minimind/train/options.h"
#include "minimind/train/trainer.h"
#include "train/adam.h"
#include "train/bad_steps.h"
#include "train/checkpoint_folder.h"
#include "train/features.h"
#include "train/precision.h"
#include "train/reporter.h"
#include "train/run_files.h"
#include "train/schedule.h"
#include "train/setup.h"
#include "train/step.h"
#include "train/stop_signals.h"
#include "train/validation.h"

namespace minimind {

/// The steps of one run from where it stands to its end or to a stop signal, with checkpoints on the way.
class TrainingLoop {
 public:
  /// `checkpoint`: where to go on from; may be null.
  TrainingLoop(const TrainOptions& options, Stage stage, ProcessGroup& group, TrainingSetup setup,
               const Checkpoint* checkpoint, std::function<void(const StepReport&)> on_step);
  TrainResult run();

 private:
  void continue_from(const Checkpoint& checkpoint);
  ReportedRun reported_run();
  RunState state() const;
  bool run_epoch();
  std::vector<Batch> next_batches();
  void seed_step() const;
  void learn(std::vector<Batch> batches);
  bool is_finite_everywhere(double loss);
  void note(const StepOutcome& outcome, const std::vector<Batch>& batches);
  void warn_of_guessing(double loss) const;
  void save_where_due();
  void save();
  std::string kept_in_words() const;
  void require_learning() const;
  void validate();
  ReportedMoment moment() const;
  std::vector<double> rates() const;

  TrainOptions options_;
  Stage stage_;
  ProcessGroup& group_;
  TrainingSetup setup_;
  std::unique_ptr<Loader> loader_;
  FeatureProvider features_;
  Adam adam_;
  LossScaler scaler_;
  StepRunner runner_;
  CheckpointFolder checkpoints_;
  Schedule schedule_;
  Schedule projection_schedule_;
  TrainingPosition position_;
  int64_t first_step_ = 0;
  std::unique_ptr<Validation> validation_;
  std::unique_ptr<Reporter> reporter_;
  BadSteps bad_steps_;
  StopSignals signals_;
  bool save_is_due_ = false;
  int stop_signal_ = 0;  // the same on all ranks
  std::function<void(const StepReport&)> on_step_;
};

}  // namespace minimind
