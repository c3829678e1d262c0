#include "minimind/model/few_rows.h"

#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <ATen/ops/empty.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <stdexcept>

namespace minimind {

namespace {

/// Fewer multiplications than this are done before another thread has woken up.
constexpr int64_t kProductsPerThread = 200'000;

void multiply_columns(const RowKernels& kernels, const at::Tensor& weight, const FewRows& product, int64_t first) {
  const int64_t offset = first * product.cols;
  switch (weight.scalar_type()) {
    case at::kFloat:
      kernels.float32_rows(weight.const_data_ptr<float>() + offset, product);
      break;
    case at::kBFloat16:
      kernels.bfloat16_rows(static_cast<const uint16_t*>(weight.const_data_ptr()) + offset, product);
      break;
    case at::kChar:
      kernels.int8_rows(weight.const_data_ptr<int8_t>() + offset, product);
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
  const bool is_narrow = weight.scalar_type() == at::kBFloat16;
  return input.is_cpu() && weight.is_cpu() && input.scalar_type() == at::kFloat && weight.is_contiguous() &&
         (weight.scalar_type() == at::kFloat || (is_narrow && !has_bfloat16_products())) &&
         input.numel() <= kFewRows * weight.size(1) && !c10::GradMode::is_enabled() &&
         !at::autocast::is_autocast_enabled(at::kCPU) && best_row_kernels().name != kPlainKernels.name;
}

void few_rows_product(const RowKernels& kernels, const at::Tensor& weight, const float* x, int64_t count, float* y) {
  const int64_t rows = weight.size(0), cols = weight.size(1);
  for (int64_t first = 0; first < count; first += kFewRows) {
    const int64_t held = std::min(kFewRows, count - first);
    const int64_t grain = std::max<int64_t>(3, kProductsPerThread / std::max<int64_t>(1, held * cols));
    at::parallel_for(0, rows, grain, [&](int64_t begin, int64_t end) {
      multiply_columns(kernels, weight, {x + first * cols, y + first * rows + begin, held, rows, end - begin, cols},
                       begin);
    });
  }
}

at::Tensor few_rows_product(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias) {
  const at::Tensor x = input.contiguous();
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes.back() = weight.size(0);
  at::Tensor y = at::empty(sizes, x.options());
  few_rows_product(best_row_kernels(), weight, x.const_data_ptr<float>(), x.numel() / weight.size(1),
                   y.mutable_data_ptr<float>());
  return bias.defined() ? y.add_(bias) : y;
}

}  // namespace minimind
