#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Event.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "dist/process_group.h"
#include "train/step_guard.h"
#include "train/train_state.h"
#include "train/train_step.h"

namespace minimind {

/// The numbers of a step of this rank, on the host.
struct StepNumbers {
  double loss_sum = 0;
  double expert_loss = 0;
  double grad_norm = 0;
  std::optional<double> loss_scale;  ///< after the step; none without loss scaling
  at::Tensor expert_load;            ///< as in StepResult
};

/// Reads the numbers of a step. On a GPU they are copied in the order of its kernels, while the host goes on.
class StepReading {
 public:
  StepReading(const StepResult& result, const LossScaler& scaler);
  /// Waits until the step is done.
  StepNumbers numbers() const;

 private:
  at::Tensor scalars_;                                                      ///< on the host
  std::optional<int64_t> loss_sum_, expert_loss_, grad_norm_, loss_scale_;  ///< places in scalars_; none: undefined
  at::Tensor expert_load_;                                                  ///< on the host
  std::optional<c10::Event> copied_;
};

/// A step that was started.
struct StartedStep {
  int64_t micro_step = 0;  ///< the last one of the step
  double learning_rate = 0;
  bool is_log_step = false;
  StepCounts counts = {};         ///< of all ranks
  int64_t supervised_tokens = 0;  ///< of this rank
  std::vector<std::string> sample_ids = {};
  std::optional<StepReading> reading = {};  ///< none if no rank had a supervised token
  std::optional<StepNumbers> numbers = {};  ///< once they are read

  /// Mean over the tokens of this rank.
  double loss() const;
};

/// The steps between their start and their verdict, which is the same on all ranks. On a CPU a step is judged at once.
/// On a GPU the host starts a step, and only then waits for the numbers of the step before: the GPU never waits for the
/// host. The ranks judge that step with the sum of the counts before the next one.
class StepJudge {
 public:
  using Finish = std::function<void(const StartedStep&, StepVerdict)>;

  /// `finish`: gets each step in order. If `runs_ahead`, one or two steps late.
  StepJudge(ProcessGroup& group, bool runs_ahead, Finish finish);
  void add(StartedStep step);
  /// Of the step that judge_next() judges: 1 if the loss of this rank is not finite. The caller sums it over the ranks.
  int64_t bad_losses() const;
  /// Judges the step whose numbers were read, if there is one. `bad_losses`: of all ranks.
  void judge_next(int64_t bad_losses);
  /// Waits for all steps and judges them. All ranks call it together.
  void judge_all();

 private:
  void judge(int64_t bad_losses);

  ProcessGroup& group_;
  bool runs_ahead_;
  Finish finish_;
  std::deque<StartedStep> steps_;  ///< if there are two, the numbers of the first are read
};

}  // namespace minimind
