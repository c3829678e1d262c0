#include "model/ops/swiglu.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "model/ops/row_loops.h"

namespace minimind {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

template <class Number>
inline void swiglu_numbers(const Number* gate, const Number* up, Number* out, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    detail::store(detail::times_sigmoid(detail::to_float(gate[i]), 1.0F) * detail::to_float(up[i]), out + i);
  }
}

template <class Number>
void swiglu_rows(const void* gate, const void* up, void* out, int64_t rows, int64_t width) {
  at::parallel_for(0, rows, 8, [&](int64_t begin, int64_t end) {
    for (int64_t first = begin * width; first < end * width; first += width) {
      swiglu_row(static_cast<const Number*>(gate) + first, static_cast<const Number*>(up) + first,
                 static_cast<Number*>(out) + first, width);
    }
  });
}

class SwigluLinearFunction : public torch::autograd::Function<SwigluLinearFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& gate, const at::Tensor& up,
                            const at::Tensor& weight) {
    context->save_for_backward({gate, up, weight});
    return at::linear(swiglu(gate, up), weight);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &gate = saved[0], &up = saved[1], &weight = saved[2], &gradient = gradients[0];
    at::Tensor weight_gradient;
    if (context->needs_input_grad(2)) {
      weight_gradient = at::mm(gradient.flatten(0, -2).t(), swiglu(gate, up).flatten(0, -2));
    }
    const at::Tensor inner = at::matmul(gradient, weight);
    const at::Tensor gate_gradient = at::silu_backward(at::mul(inner, up), gate);
    return {gate_gradient, at::silu(gate).mul_(inner), weight_gradient};
  }
};

}  // namespace

at::Tensor swiglu_reference(const at::Tensor& gate, const at::Tensor& up) {
  return at::silu(gate).mul_(up);
}

MINIMIND_CLONES void swiglu_row(const float* gate, const float* up, float* out, int64_t count) {
  swiglu_numbers(gate, up, out, count);
}

MINIMIND_CLONES void swiglu_row(const uint16_t* gate, const uint16_t* up, uint16_t* out, int64_t count) {
  swiglu_numbers(gate, up, out, count);
}

at::Tensor swiglu(const at::Tensor& gate, const at::Tensor& up) {
  const at::ScalarType dtype = gate.scalar_type();
  if (!gate.is_cpu() || !gate.is_contiguous() || !up.is_contiguous() || up.scalar_type() != dtype ||
      (dtype != at::kFloat && dtype != at::kBFloat16)) {
    return swiglu_reference(gate, up);
  }
  const at::Tensor out = at::empty_like(gate);
  const int64_t width = gate.size(-1), rows = gate.numel() / std::max<int64_t>(1, width);
  const auto all = dtype == at::kFloat ? swiglu_rows<float> : swiglu_rows<uint16_t>;
  all(gate.const_data_ptr(), up.const_data_ptr(), out.mutable_data_ptr(), rows, width);
  return out;
}

at::Tensor swiglu_linear(const at::Tensor& gate, const at::Tensor& up, const at::Tensor& weight) {
  return SwigluLinearFunction::apply(gate, up, weight);
}

}  // namespace minimind
