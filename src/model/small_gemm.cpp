#include "model/small_gemm.h"

#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <ATen/ops/empty.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <stdexcept>
#include <vector>

namespace minimind {

namespace {

/// Fewer multiplications than this are done before another thread has woken up.
constexpr int64_t kMultiplicationsPerThread = 200'000;

/// y for the weights [first, first + gemm.rows).
void multiply_rows(const GemvKernels& kernels, const at::Tensor& weight, const SmallGemm& gemm, int64_t first) {
  const int64_t offset = first * gemm.cols;
  switch (weight.scalar_type()) {
    case at::kFloat:
      kernels.small_gemm_float32(weight.const_data_ptr<float>() + offset, gemm);
      break;
    case at::kBFloat16:
      kernels.small_gemm_bf16(static_cast<const uint16_t*>(weight.const_data_ptr()) + offset, gemm);
      break;
    case at::kChar:
      kernels.small_gemm_int8(weight.const_data_ptr<int8_t>() + offset, gemm);
      break;
    default:
      throw std::logic_error("small_gemm: weights of another dtype");
  }
}

}  // namespace

bool small_gemm_serves(const at::Tensor& input, const at::Tensor& weight) {
  return input.is_cpu() && weight.is_cpu() && input.scalar_type() == at::kFloat && weight.is_contiguous() &&
         (weight.scalar_type() == at::kFloat || weight.scalar_type() == at::kBFloat16) &&
         input.numel() <= kSmallGemmRows * weight.size(1) && !c10::GradMode::is_enabled() &&
         !at::autocast::is_autocast_enabled(at::kCPU) && has_vector_kernels();
}

at::Tensor small_gemm(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias,
                      const GemvKernels& kernels) {
  const int64_t rows = weight.size(0), cols = weight.size(1), count = input.numel() / cols;
  const at::Tensor x = input.contiguous();
  at::Tensor rounded;
  if (kernels.takes_bf16_input && weight.scalar_type() == at::kBFloat16) {
    rounded = x.to(at::kBFloat16);
  }
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes.back() = rows;
  at::Tensor y = at::empty(sizes, x.options());
  const auto* const from = x.const_data_ptr<float>();
  const auto* const bf16_from = rounded.defined() ? static_cast<const uint16_t*>(rounded.const_data_ptr()) : nullptr;
  auto* const to = y.mutable_data_ptr<float>();
  for (int64_t first = 0; first < count; first += kSmallGemmRows) {
    const int64_t part = std::min(kSmallGemmRows, count - first);
    const int64_t grain = std::max<int64_t>(3, kMultiplicationsPerThread / std::max<int64_t>(1, part * cols));
    at::parallel_for(0, rows, grain, [&](int64_t begin, int64_t end) {
      const SmallGemm gemm = {.x = from + first * cols,
                              .y = to + first * rows + begin,
                              .count = part,
                              .y_stride = rows,
                              .rows = end - begin,
                              .cols = cols,
                              .bf16_x = bf16_from == nullptr ? nullptr : bf16_from + first * cols};
      multiply_rows(kernels, weight, gemm, begin);
    });
  }
  return bias.defined() ? y.add_(bias) : y;
}

}  // namespace minimind
