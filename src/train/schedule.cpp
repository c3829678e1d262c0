#include "train/schedule.h"

#include <cmath>
#include <numbers>

namespace minimind {

double Schedule::at(int64_t t) const {
  const double lowest = learning_rate / 10;
  if (t < warmup) {
    return learning_rate * static_cast<double>(t) / static_cast<double>(warmup);
  }
  if (t >= total) {
    return lowest;
  }
  const double progress = static_cast<double>(t - warmup) / static_cast<double>(total - warmup);
  return lowest + 0.5 * (1.0 + std::cos(std::numbers::pi * progress)) * (learning_rate - lowest);
}

}  // namespace minimind
