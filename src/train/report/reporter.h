#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/progress.h"
#include "base/stopwatch.h"
#include "dist/process_group.h"
#include "minimind/data/loader.h"
#include "minimind/train/options.h"
#include "train/report/event_file.h"
#include "train/report/flops.h"
#include "train/report/metrics.h"
#include "train/setup.h"
#include "train/train_step.h"

namespace minimind {

/// Micro-steps of a rank: the first of this part of the run, the end of the run, and the length of an epoch.
struct MicroStepRange {
  int64_t first = 0;
  int64_t total = 1;
  int64_t per_epoch = 1;
};

/// Gathers the steps between two log lines and sums them over the ranks. Rank 0 shows the record on the progress line
/// and writes it to `metrics.jsonl`, `index.html` and `tensorboard/{model}_{stage}`.
class Reporter {
 public:
  /// `on_record`: gets the record of every step on rank 0; may be empty. The references outlive the reporter.
  Reporter(const TrainOptions& options, Stage stage, const TrainingSetup& setup, ProcessGroup& group,
           const Loader& loader, const FeatureProvider& features, const MicroStepRange& range,
           std::function<void(const MetricsRecord&)> on_record);

  /// Starts the clock of the run and of the first log line.
  void start();
  /// Counts a step whose update was tried. `counts`: of all ranks. `expert_load`: of this rank, may be undefined.
  void add_step(const StepCounts& counts, const at::Tensor& expert_load);
  /// Counts the finite losses of this rank and the gradient norm of a step.
  void add_loss(double loss_sum, int64_t supervised_tokens, double expert_loss, double grad_norm);
  /// Adds to the time that the steps since the last log line have waited for a save.
  void add_save_wait(double seconds) { save_wait_seconds_ += seconds; }
  /// Shows the steps since the last log line. `is_log_step`: all ranks call it; a new line begins.
  void show(int64_t micro_step, double learning_rate, bool is_log_step);
  /// Shows and writes held-out losses. Their time does not count in the speed: a new line begins.
  void add_validation(ValidationRecord record, int64_t micro_step);
  /// Ends the progress line, so that a message starts on a new line.
  void end_line() { line_.finish(); }
  /// Writes the last state of the page.
  void finish();

  // Of this part of the run.
  double seconds() const { return run_time_.seconds(); }
  /// Loss of the latest record.
  double last_loss() const { return last_loss_; }
  /// Samples of all ranks.
  int64_t samples() const { return samples_; }

 private:
  /// Sums since the last log line; of this rank until they are summed over the ranks.
  struct Sums {
    double loss = 0;
    double supervised_tokens = 0;
    double expert_loss = 0;
    double encoded_images = 0;
    std::vector<double> expert_choices = {};  ///< layer by layer

    std::vector<double*> numbers();
  };
  MetricsRecord make_record(const Sums& sums, int64_t micro_step, double learning_rate);
  std::string line_of(const MetricsRecord& record) const;
  double epoch_of(int64_t micro_step) const;
  template <class Record>
  void write_events(Record record);
  void write_page(bool is_live);
  void begin_line();

  std::string out_dir_;
  std::string model_;
  std::string stage_;
  c10::Device device_;
  int64_t experts_;  ///< of a layer; 0: none
  ProcessGroup& group_;
  const Loader& loader_;
  const FeatureProvider& features_;
  MicroStepRange range_;
  FlopsCounter flops_;
  double peak_flops_;  ///< of all ranks' devices, per second
  std::function<void(const MetricsRecord&)> on_record_;

  std::unique_ptr<MetricsLog> metrics_;  ///< rank 0 alone
  std::unique_ptr<EventFile> events_;    ///< rank 0 alone
  ProgressLine line_;
  Stopwatch run_time_;
  std::optional<Stopwatch> page_age_;
  bool page_failed_ = false;
  double earlier_seconds_ = 0;
  int64_t samples_ = 0;
  double last_loss_ = 0;
  double last_norm_ = 0;

  // Since the last log line.
  Stopwatch line_time_;
  Sums sums_;
  StepCounts counts_;
  int64_t steps_ = 0;
  double step_flops_ = 0;
  double save_wait_seconds_ = 0;
  // At the last log line.
  int64_t encoded_images_ = 0;
  double data_wait_seconds_ = 0;
  double reduce_wait_seconds_ = 0;
};

}  // namespace minimind
