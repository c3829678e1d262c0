#include "model/ops/quick_gelu.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>

#include "model/ops/row_loops.h"

namespace minimind {

namespace {

constexpr double kScale = 1.702;

template <class Number>
inline void quick_gelu_numbers(Number* x, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    detail::store(detail::times_sigmoid(detail::to_float(x[i]), static_cast<float>(kScale)), x + i);
  }
}

template <class Number>
void quick_gelu_rows(void* x, int64_t rows, int64_t width) {
  at::parallel_for(0, rows, 8, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      quick_gelu_row(static_cast<Number*>(x) + row * width, width);
    }
  });
}

}  // namespace

at::Tensor quick_gelu_reference(const at::Tensor& x) {
  return at::sigmoid(x * kScale).mul_(x);
}

MINIMIND_CLONES void quick_gelu_row(float* x, int64_t count) {
  quick_gelu_numbers(x, count);
}

MINIMIND_CLONES void quick_gelu_row(uint16_t* x, int64_t count) {
  quick_gelu_numbers(x, count);
}

void quick_gelu_(const at::Tensor& x) {
  const at::ScalarType dtype = x.scalar_type();
  if (!x.is_cpu() || !x.is_contiguous() || (dtype != at::kFloat && dtype != at::kBFloat16)) {
    x.copy_(quick_gelu_reference(x));
    return;
  }
  const int64_t width = x.size(-1), rows = x.numel() / std::max<int64_t>(1, width);
  const auto all = dtype == at::kFloat ? quick_gelu_rows<float> : quick_gelu_rows<uint16_t>;
  all(x.mutable_data_ptr(), rows, width);
}

}  // namespace minimind
