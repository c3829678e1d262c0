#include "model/all_finite.h"

#include <ATen/Parallel.h>
#include <ATen/ops/isfinite.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace minimind::detail {

namespace {

/// Whether a number has all exponent bits set, as NaN and infinity have. Without a branch, so that compilers vectorise.
template <class Bits>
bool any_full_exponent(const Bits* numbers, int64_t count, Bits exponent) {
  Bits found = 0;
  for (int64_t i = 0; i < count; ++i) {
    found |= static_cast<Bits>((numbers[i] & exponent) == exponent);
  }
  return found != 0;
}

template <class Bits>
bool all_below_full_exponent(const at::Tensor& tensor, Bits exponent) {
  constexpr int64_t kGrain = 1 << 16;
  const auto* const numbers = static_cast<const Bits*>(tensor.const_data_ptr());
  std::atomic<bool> found = false;
  at::parallel_for(0, tensor.numel(), kGrain, [&](int64_t begin, int64_t end) {
    if (any_full_exponent(numbers + begin, end - begin, exponent)) {
      found = true;
    }
  });
  return !found;
}

}  // namespace

bool all_finite(const at::Tensor& tensor) {
  const at::Tensor numbers = tensor.contiguous();
  switch (numbers.scalar_type()) {
    case at::kFloat:
      return all_below_full_exponent<uint32_t>(numbers, 0x7F800000U);
    case at::kHalf:
      return all_below_full_exponent<uint16_t>(numbers, 0x7C00U);
    case at::kBFloat16:
      return all_below_full_exponent<uint16_t>(numbers, 0x7F80U);
    default:
      return at::isfinite(numbers).all().item<bool>();
  }
}

}  // namespace minimind::detail
