#pragma once

#include <cstdint>

namespace minimind {

/// Linear warm-up, then a cosine from `learning_rate` to a tenth of it. SPEC.md section 6.
struct Schedule {
  double learning_rate = 4e-4;
  int64_t warmup = 0;  ///< micro-batches
  int64_t total = 1;   ///< micro-batches of all epochs

  /// The learning rate of micro-batch t, counted from 0; a tenth of the peak from `total` on.
  double at(int64_t t) const;
};

}  // namespace minimind
