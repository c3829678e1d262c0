#pragma once

#include <cstdint>

namespace minimind {

/// Cosine from `learning_rate` to a tenth of it, after a linear warm-up. SPEC.md section 6.
struct Schedule {
  double learning_rate = 4e-4;
  int64_t warmup = 0;  ///< micro-batches
  int64_t total = 1;   ///< micro-batches of all epochs

  /// The rate of micro-batch t, from 0; a tenth of the highest from `total` on.
  double at(int64_t t) const;
};

}  // namespace minimind
