#include "train/step_guard.h"

#include <cmath>

#include "minimind/base/error.h"
#include "minimind/base/log.h"

namespace minimind {
namespace {

constexpr size_t kNormHistory = 8;
constexpr const char* kCure = "; try a lower --learning_rate, a warm-up (--warmup_iters) or better data";

}  // namespace

StepVerdict judge_step(bool has_bad_loss, double grad_norm, const std::optional<double>& loss_scale) {
  if (!has_bad_loss && std::isfinite(grad_norm)) {
    return StepVerdict::kGood;
  }
  const bool can_be_too_high = loss_scale && *loss_scale >= 1;
  return has_bad_loss || !can_be_too_high ? StepVerdict::kBad : StepVerdict::kScaleTooHigh;
}

void StepGuard::accept(double grad_norm) {
  in_a_row_ = 0;
  ++accepted_;
  norms_.push_back(grad_norm);
  if (norms_.size() > kNormHistory) {
    norms_.pop_front();
  }
}

void StepGuard::skip(int64_t micro_step, double loss, double grad_norm, const std::vector<std::string>& sample_ids,
                     const std::string& kept) {
  ++in_a_row_;
  ++skipped_;
  std::string samples, norms;
  for (const std::string& id : sample_ids) {
    samples += (samples.empty() ? "" : ", ") + id;
  }
  for (const double norm : norms_) {
    norms += concat(norms.empty() ? "" : ", ", norm);
  }
  log_warning(concat("micro-step ", micro_step, ": loss ", loss, ", gradient norm ", grad_norm,
                     ": not finite, step skipped (", in_a_row_, " in a row of at most ", max_in_a_row_,
                     "); samples: ", samples, "; gradient norms before: ", norms.empty() ? "none" : norms));
  require(in_a_row_ < max_in_a_row_, "micro-step ", micro_step, ": expected a finite loss, found ", in_a_row_,
          " non-finite steps in a row (--max_bad_steps); ", kept, kCure);
}

void StepGuard::check_end(bool is_stopped, const std::string& out_dir, const std::string& kept, bool logs) const {
  const std::string share = concat(skipped_, " of ", skipped_ + accepted_, " steps were skipped as non-finite");
  require(is_stopped || !mostly_failed(), out_dir, ": expected steps with a finite loss, found that ", share,
          "; the weights were not written, ", kept, kCure);
  if (logs && mostly_failed()) {
    log_warning(concat(share, ": the weights of this step were not written, ", kept));
  } else if (logs && in_a_row_ > 0) {
    log_warning(concat("the last ", in_a_row_,
                       " steps were skipped as non-finite: look at the curves before you use the weights; ", kept));
  }
}

}  // namespace minimind
