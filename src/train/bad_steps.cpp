#include "train/bad_steps.h"

#include <string>

#include "minimind/base/error.h"
#include "minimind/base/log.h"

namespace minimind {
namespace {

constexpr size_t kNormHistory = 8;

}  // namespace

void BadSteps::good(double grad_norm) {
  in_a_row_ = 0;
  ++good_;
  norms_.push_back(grad_norm);
  if (norms_.size() > kNormHistory) {
    norms_.pop_front();
  }
}

void BadSteps::bad(const BadStep& step, const std::vector<Batch>& batches) {
  ++in_a_row_;
  ++left_out_;
  std::string samples;
  for (const Batch& batch : batches) {
    for (const std::string& id : batch.sample_ids) {
      samples += (samples.empty() ? "" : ", ") + id;
    }
  }
  std::string history;
  for (const double norm : norms_) {
    history += concat(history.empty() ? "" : ", ", norm);
  }
  log_warning(concat("step ", step.step, ": loss ", step.loss, ", gradient norm ", step.grad_norm,
                     ": not finite, step left out (", in_a_row_, " in a row of at most ", most_,
                     "); samples: ", samples, "; gradient norms before: ", history.empty() ? "none" : history));
  require(in_a_row_ < most_, "step ", step.step, ": expected a finite loss, found ", in_a_row_,
          " steps in a row without one (--max_bad_steps); ", step.kept,
          "; a lower --learning_rate, a warm-up or better data may help");
}

}  // namespace minimind
