#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>

namespace minimind::testing {

/// The largest absolute difference of two tensors.
inline double largest_gap(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

/// Success if no element of `actual` is further than `tolerance` from `expected`; NaN is never near. A failure shows
/// shape, dtype, the number of differences, the first one and the largest one with index and both values.
inline ::testing::AssertionResult is_near(const at::Tensor& actual, const at::Tensor& expected, double tolerance) {
  if (actual.sizes() != expected.sizes()) {
    return ::testing::AssertionFailure() << "expected shape " << expected.sizes() << ", found " << actual.sizes();
  }
  const at::Tensor found = actual.detach().to(at::kCPU, at::kDouble).reshape({-1});
  const at::Tensor wanted = expected.detach().to(at::kCPU, at::kDouble).reshape({-1});
  const at::Tensor gaps = (found - wanted).abs();
  const at::Tensor differs = gaps.le(tolerance).logical_not();
  const int64_t count = differs.sum().item<int64_t>();
  if (count == 0) {
    return ::testing::AssertionSuccess();
  }
  const auto element = [&](int64_t flat) {
    std::string index;
    int64_t rest = flat;
    for (int64_t dimension = actual.dim() - 1; dimension >= 0; --dimension) {
      index = std::to_string(rest % actual.size(dimension)) + (index.empty() ? "" : ", ") + index;
      rest /= actual.size(dimension);
    }
    return "[" + index + "]: expected " + ::testing::PrintToString(wanted[flat].item<double>()) + ", found " +
           ::testing::PrintToString(found[flat].item<double>());
  };
  const int64_t largest = gaps.nan_to_num(std::numeric_limits<double>::infinity()).argmax().item<int64_t>();
  return ::testing::AssertionFailure() << count << " of " << found.numel() << " elements differ by more than "
                                       << tolerance << " (shape " << actual.sizes() << ", " << actual.dtype()
                                       << "); first at " << element(differs.to(at::kInt).argmax().item<int64_t>())
                                       << "; largest gap " << gaps[largest].item<double>() << " at "
                                       << element(largest);
}

}  // namespace minimind::testing
