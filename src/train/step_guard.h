#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

namespace minimind {

enum class StepVerdict {
  kGood,
  kScaleTooHigh,  ///< the losses are finite, the gradient times the loss scale is not: the scale has been halved
  kBad,
};

/// What all ranks make of a step. `has_bad_loss`: whether the loss of any rank is not finite; `grad_norm`: of all
/// ranks; `loss_scale`: after the step, none without loss scaling. A loss scale below 1 is not too high.
StepVerdict judge_step(bool has_bad_loss, double grad_norm, const std::optional<double>& loss_scale);

/// The policy for steps whose loss or gradient is not finite. Such a step is skipped; too many in a row end the run,
/// and their weights do not replace older ones. All ranks count alike.
class StepGuard {
 public:
  /// `max_in_a_row`: --max_bad_steps.
  explicit StepGuard(int64_t max_in_a_row) : max_in_a_row_(max_in_a_row) {}

  void accept(double grad_norm);
  /// Warns with the sample ids and the latest gradient norms. Throws Error after `max_in_a_row` steps. `kept`: which
  /// checkpoint the run can continue from, for the message.
  void skip(int64_t micro_step, double loss, double grad_norm, const std::vector<std::string>& sample_ids,
            const std::string& kept);
  /// False after a skipped step: then the weights may be ruined.
  bool is_verified() const { return in_a_row_ == 0; }
  int64_t skipped() const { return skipped_; }
  /// At least half of the steps were skipped: the weights are not worth keeping.
  bool mostly_failed() const { return skipped_ > 0 && skipped_ >= accepted_; }
  /// At the end of a run: warns if steps were skipped lately and `logs`. Throws Error if the run was not stopped and
  /// mostly_failed().
  void check_end(bool is_stopped, const std::string& out_dir, const std::string& kept, bool logs) const;

 private:
  int64_t max_in_a_row_;
  int64_t accepted_ = 0;
  int64_t skipped_ = 0;
  int64_t in_a_row_ = 0;
  std::deque<double> norms_;
};

}  // namespace minimind
