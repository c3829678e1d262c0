#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "minimind/data/batch.h"

namespace minimind {

/// What a step that was left out looked like.
struct BadStep {
  int64_t step = 0;
  double loss = 0;
  double grad_norm = 0;
  std::string kept;  ///< what the run would go on from, for the message
};

/// Counts the steps whose loss or gradient is not finite, and ends a run that makes too many in a row.
class BadSteps {
 public:
  explicit BadSteps(int64_t most) : most_(most) {}
  void good(double grad_norm);
  /// Warns with the sample ids and the gradient norms before. Throws Error at the last one allowed.
  void bad(const BadStep& step, const std::vector<Batch>& batches);
  /// Since the last good one. While it is not 0 the weights may be ruined, and no checkpoint should replace an
  /// older one.
  int64_t in_a_row() const { return in_a_row_; }
  int64_t left_out() const { return left_out_; }
  int64_t tried() const { return left_out_ + good_; }
  /// Half of the steps or more were left out: what came of the others is not worth keeping.
  bool prevail() const { return left_out_ > 0 && left_out_ >= good_; }

 private:
  int64_t most_;
  int64_t good_ = 0;
  int64_t left_out_ = 0;
  int64_t in_a_row_ = 0;
  std::deque<double> norms_;
};

}  // namespace minimind
