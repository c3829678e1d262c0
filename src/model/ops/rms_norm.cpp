#include "model/ops/rms_norm.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <tuple>
#include <vector>

#include "model/ops/composed.h"
#include "model/ops/gpu_ops.h"
#include "model/ops/row_loops.h"

namespace minimind {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kLanes = 16;         // sums side by side, in an order that is always the same
constexpr int64_t kRowsPerBlock = 32;  // of the weight's gradient

/// The sum of term(i) for i in [0, count).
template <class Term>
inline float sum_of(int64_t count, const Term& term) {
  float lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      lanes[lane] += term(i + lane);
    }
  }
  float sum = 0;
  for (const float lane : lanes) {
    sum += lane;
  }
  for (; i < count; ++i) {
    sum += term(i);
  }
  return sum;
}

/// Adds to weight_gradient [width] unless it is null.
MINIMIND_CLONES void rms_norm_row_backward(const float* gradient, const float* x, const float* weight, float factor,
                                           float* x_gradient, float* weight_gradient, int64_t width) {
  const float dot_product = sum_of(width, [=](int64_t i) { return gradient[i] * weight[i] * x[i]; });
  const float share = dot_product * factor * factor / static_cast<float>(width);
  for (int64_t i = 0; i < width; ++i) {
    x_gradient[i] = (gradient[i] * weight[i] - x[i] * share) * factor;
  }
  if (weight_gradient != nullptr) {
    for (int64_t i = 0; i < width; ++i) {
      weight_gradient[i] += gradient[i] * (x[i] * factor);
    }
  }
}

bool has_row_form(const at::Tensor& tensor) {
  return tensor.is_cpu() && tensor.scalar_type() == at::kFloat && tensor.is_contiguous();
}

/// y [..., D] and the factors [..., 1].
std::tuple<at::Tensor, at::Tensor> rms_norm_rows(const at::Tensor& x, const at::Tensor& weight, double eps) {
  const int64_t width = weight.numel(), rows = x.numel() / std::max<int64_t>(1, width);
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes.back() = 1;
  const at::Tensor y = at::empty_like(x), factors = at::empty(sizes, x.options());
  const auto *const from = x.const_data_ptr<float>(), *const scale = weight.const_data_ptr<float>();
  auto *const to = y.mutable_data_ptr<float>(), *const factor = factors.mutable_data_ptr<float>();
  at::parallel_for(0, rows, kRowsPerBlock, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      factor[row] = rms_norm_row(from + row * width, scale, eps, to + row * width, width);
    }
  });
  return {y, factors};
}

/// Fills x_gradient [..., D] and, if it is defined, weight_gradient [D].
void rms_norm_rows_backward(const at::Tensor& gradient, const at::Tensor& x, const at::Tensor& weight,
                            const at::Tensor& factors, const at::Tensor& x_gradient,
                            const at::Tensor& weight_gradient) {
  const int64_t width = weight.numel(), rows = x.numel() / std::max<int64_t>(1, width);
  const int64_t blocks = (rows + kRowsPerBlock - 1) / kRowsPerBlock;
  const auto *const incoming = gradient.const_data_ptr<float>(), *const from = x.const_data_ptr<float>();
  const auto *const scale = weight.const_data_ptr<float>(), *const factor = factors.const_data_ptr<float>();
  auto* const to = x_gradient.mutable_data_ptr<float>();
  // Each block of rows has a sum of its own, so that the order of additions does not depend on the number of threads.
  const at::Tensor parts =
      weight_gradient.defined() ? at::zeros({blocks, width}, weight_gradient.options()) : at::Tensor();
  at::parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      float* const part = parts.defined() ? parts.mutable_data_ptr<float>() + block * width : nullptr;
      for (int64_t row = block * kRowsPerBlock; row < std::min(rows, (block + 1) * kRowsPerBlock); ++row) {
        rms_norm_row_backward(incoming + row * width, from + row * width, scale, factor[row], to + row * width, part,
                              width);
      }
    }
  });
  if (parts.defined()) {
    weight_gradient.copy_(at::sum(parts, at::IntArrayRef{0}));
  }
}

/// One node in place of five: saves three tensors fewer and passes once over them.
class RmsNormFunction : public torch::autograd::Function<RmsNormFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight, double eps) {
    const bool has_rows = has_row_form(x) && has_row_form(weight);
    const auto [y, factors] = x.is_cuda() ? gpu::rms_norm(x, weight, eps)
                              : has_rows  ? rms_norm_rows(x, weight, eps)
                                          : rms_norm_with_factors(x, weight, eps);
    context->save_for_backward({x, weight, factors});
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1], &factors = saved[2];
    const bool needs_weight = context->needs_input_grad(1);
    if (has_row_form(x) && has_row_form(weight)) {
      const at::Tensor x_gradient = at::empty_like(x);
      const at::Tensor weight_gradient = needs_weight ? at::empty_like(weight) : at::Tensor();
      rms_norm_rows_backward(gradients[0].to(at::kFloat).contiguous(), x, weight, factors, x_gradient, weight_gradient);
      return {x_gradient, weight_gradient, at::Tensor()};
    }
    const auto backward = x.is_cuda() ? gpu::rms_norm_backward : rms_norm_backward_reference;
    const auto [x_gradient, weight_gradient] = backward(gradients[0], x, weight, factors, needs_weight);
    return {x_gradient, weight_gradient, at::Tensor()};
  }
};

}  // namespace

MINIMIND_CLONES float rms_norm_row(const float* x, const float* weight, double eps, float* y, int64_t width) {
  const float squares = sum_of(width, [=](int64_t i) { return x[i] * x[i]; });
  const float factor = 1.0F / std::sqrt(squares / static_cast<float>(width) + static_cast<float>(eps));
  for (int64_t i = 0; i < width; ++i) {
    y[i] = x[i] * factor * weight[i];
  }
  return factor;
}

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  return RmsNormFunction::apply(x, weight, eps);
}

}  // namespace minimind
