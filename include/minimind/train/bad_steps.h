#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "minimind/data/batch.h"

namespace minimind {

/// What a step that was left out looked like.
struct BadStep {
  int64_t step = 0;
  double loss = 0;
  double grad_norm = 0;
};

/// Counts the steps whose loss or gradient is not finite, and ends a run that makes too many in a row.
class BadSteps {
 public:
  explicit BadSteps(int64_t most) : most_(most) {}
  void good(double grad_norm);
  /// Warns with the sample ids and the gradient norms before. Throws Error at the last one allowed.
  void bad(const BadStep& step, const std::vector<Batch>& batches);

 private:
  int64_t most_;
  int64_t in_a_row_ = 0;
  std::deque<double> norms_;
};

}  // namespace minimind
