#include "model/few_rows.h"

#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <stdexcept>

namespace minimind {

namespace {

/// Fewer multiplications than this are done before another thread has woken up.
constexpr int64_t kProductsPerThread = 200'000;

void multiply_columns(const GemvKernels& kernels, const at::Tensor& weight, const SmallGemm& product, int64_t first) {
  const int64_t offset = first * product.cols;
  switch (weight.scalar_type()) {
    case at::kFloat:
      kernels.small_gemm_float32(weight.const_data_ptr<float>() + offset, product);
      break;
    case at::kBFloat16:
      kernels.small_gemm_bf16(static_cast<const uint16_t*>(weight.const_data_ptr()) + offset, product);
      break;
    case at::kChar:
      kernels.small_gemm_int8(weight.const_data_ptr<int8_t>() + offset, product);
      break;
    default:
      throw std::logic_error("few_rows_product: weights of another dtype");
  }
}

}  // namespace

bool has_bfloat16_products() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512bf16") != 0;
#else
  return false;
#endif
}

bool few_rows_serve(const at::Tensor& input, const at::Tensor& weight) {
  return input.is_cpu() && weight.is_cpu() && input.scalar_type() == at::kFloat && weight.is_contiguous() &&
         (weight.scalar_type() == at::kFloat || weight.scalar_type() == at::kBFloat16) &&
         input.numel() <= kFewRows * weight.size(1) && !c10::GradMode::is_enabled() &&
         !at::autocast::is_autocast_enabled(at::kCPU) && has_vector_kernels();
}

void few_rows_product(const GemvKernels& kernels, const at::Tensor& weight, const float* x, int64_t count, float* y) {
  const int64_t rows = weight.size(0), cols = weight.size(1);
  at::Tensor narrow;
  if (kernels.takes_bf16_input && weight.scalar_type() == at::kBFloat16) {
    // from_blob() has no form for what is only read.
    narrow = at::from_blob(const_cast<float*>(x), {count, cols}, at::kFloat).to(at::kBFloat16);
  }
  const auto* const bf16_x = narrow.defined() ? static_cast<const uint16_t*>(narrow.const_data_ptr()) : nullptr;
  for (int64_t first = 0; first < count; first += kFewRows) {
    const int64_t held = std::min(kFewRows, count - first);
    const int64_t grain = std::max<int64_t>(3, kProductsPerThread / std::max<int64_t>(1, held * cols));
    at::parallel_for(0, rows, grain, [&](int64_t begin, int64_t end) {
      const SmallGemm product = {.x = x + first * cols,
                                 .y = y + first * rows + begin,
                                 .count = held,
                                 .y_stride = rows,
                                 .rows = end - begin,
                                 .cols = cols,
                                 .bf16_x = bf16_x == nullptr ? nullptr : bf16_x + first * cols};
      multiply_columns(kernels, weight, product, begin);
    });
  }
}

at::Tensor few_rows_product(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias) {
  const at::Tensor x = input.contiguous();
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes.back() = weight.size(0);
  at::Tensor y = at::empty(sizes, x.options());
  few_rows_product(best_gemv_kernels(), weight, x.const_data_ptr<float>(), x.numel() / weight.size(1),
                   y.mutable_data_ptr<float>());
  return bias.defined() ? y.add_(bias) : y;
}

}  // namespace minimind
