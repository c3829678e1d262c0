#include "model/all_finite.h"

#include <ATen/ops/aminmax.h>

#include <cmath>

namespace minimind::detail {

bool all_finite(const at::Tensor& tensor) {
  if (tensor.numel() == 0) {
    return true;
  }
  // Both are NaN if a number is NaN.
  const auto [lowest, highest] = at::aminmax(tensor);
  return std::isfinite(lowest.item<double>()) && std::isfinite(highest.item<double>());
}

}  // namespace minimind::detail
