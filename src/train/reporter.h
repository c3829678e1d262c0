#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/progress.h"
#include "dist/process_group.h"
#include "minimind/train/options.h"
#include "train/event_file.h"
#include "train/metrics.h"
#include "train/operations.h"
#include "train/speed.h"
#include "train/step.h"

namespace minimind {

/// What stays the same in all reports of a run.
struct ReportedRun {
  std::string model;  ///< see model_name()
  std::string stage;
  std::string out_dir;
  int64_t layers = 0;
  int64_t experts = 0;          ///< of a layer; 0: none
  int64_t first_step = 0;       ///< where this part of the run began
  int64_t total_steps = 1;      ///< where it will end
  int64_t steps_per_epoch = 1;  ///< of one rank
  c10::Device device = c10::kCPU;
  OperationCount operations;
  double operation_rate = 1;  ///< of large matrix products on all ranks' devices, operations a second
};

/// Where a report stands.
struct ReportedMoment {
  int64_t step = 0;
  double learning_rate = 0;
  double data_wait = 0;  ///< seconds since the run began
  int64_t encoded = 0;   ///< images that went through the encoder of this rank since the run began
};

/// Gathers what happens between two lines, shows it on stderr and keeps it in `metrics.jsonl`, `index.html` and
/// `tensorboard/{model}_{stage}` (rank 0 alone writes).
class Reporter {
 public:
  Reporter(const ReportedRun& run, ProcessGroup& group);
  /// The clock of the first line and of the whole run starts here.
  void start();
  /// A step whose update was tried.
  void count(const StepOutcome& outcome);
  /// Its loss and gradient norm, which are finite.
  void note(double loss_sum, int64_t tokens, double expert_loss, double grad_norm);
  /// `lasting`: due for the log; all ranks call it then, and a new window begins.
  void show(const ReportedMoment& moment, bool lasting);
  /// Shows and keeps the held-out losses at `moment`. What they cost does not count in the speed: a new window begins.
  void validated(ValidationRecord record, const ReportedMoment& moment);
  /// Ends the progress line so that a message starts on its own.
  void break_line() { line_.finish(); }
  /// The page's last state.
  void finish();

  double elapsed() const;
  double last_loss() const { return last_loss_; }
  int64_t samples() const { return samples_; }

 private:
  MetricsRecord make_record(const ReportedMoment& moment, const std::vector<double>& sums);
  std::string line_of(const MetricsRecord& record) const;
  double epoch_of(int64_t step) const;
  void keep(const MetricsRecord& record);
  void write_page(bool live);
  void begin_window(const ReportedMoment& moment);

  using Clock = std::chrono::steady_clock;
  ReportedRun run_;
  ProcessGroup& group_;
  std::optional<MetricsLog> metrics_;
  std::optional<EventFile> events_;
  ProgressLine line_;
  Window window_;
  Clock::time_point start_ = Clock::now();
  Clock::time_point page_written_{};
  bool page_is_missed_ = false;
  double earlier_seconds_ = 0;
  double last_loss_ = 0;
  double last_norm_ = 0;
  int64_t samples_ = 0;
};

}  // namespace minimind
