#include "model/ops/activations.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "model/ops/composed.h"
#include "model/ops/gpu_ops.h"
#include "model/ops/row_loops.h"

namespace minimind {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// out = x * sigmoid(scale * x), times `up` if it is not null. Block by block in float: one loop over bfloat16 and
/// float fills only half of a vector.
template <class Number>
__attribute__((always_inline)) inline void gate_numbers(const Number* x, const Number* up, float scale, Number* out,
                                                        int64_t count) {
  constexpr int64_t kBlock = 256;
  float block[kBlock];
  for (int64_t first = 0; first < count; first += kBlock) {
    const int64_t size = count - first < kBlock ? count - first : kBlock;
    for (int64_t i = 0; i < size; ++i) {
      block[i] = detail::to_float(x[first + i]);
    }
    for (int64_t i = 0; i < size; ++i) {
      block[i] = detail::times_sigmoid(block[i], scale);
    }
    for (int64_t i = 0; up != nullptr && i < size; ++i) {
      block[i] *= detail::to_float(up[first + i]);
    }
    for (int64_t i = 0; i < size; ++i) {
      detail::store(block[i], out + first + i);
    }
  }
}

/// Whether the row forms read it: float32 or bfloat16, contiguous, on a CPU.
bool has_number_rows(const at::Tensor& x) {
  return x.is_cpu() && x.is_contiguous() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16);
}

/// Calls work(first number of a row, width) for each row of x [..., width], on all threads.
template <class Work>
void for_each_row(const at::Tensor& x, const Work& work) {
  const int64_t width = x.size(-1), rows = x.numel() / std::max<int64_t>(1, width);
  at::parallel_for(0, rows, 8, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      work(row * width, width);
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
    if (gate.is_cuda()) {
      const auto [to_gate, to_up, product] = gpu::swiglu_backward(at::matmul(gradient, weight), gate, up);
      return {
          to_gate, to_up,
          context->needs_input_grad(2) ? at::mm(gradient.flatten(0, -2).t(), product.flatten(0, -2)) : at::Tensor()};
    }
    at::Tensor weight_gradient;
    if (context->needs_input_grad(2)) {
      weight_gradient = at::mm(gradient.flatten(0, -2).t(), swiglu(gate, up).flatten(0, -2));
    }
    const auto [to_gate, to_up] = swiglu_backward_reference(at::matmul(gradient, weight), gate, up);
    return {to_gate, to_up, weight_gradient};
  }
};

}  // namespace

MINIMIND_CLONES void swiglu_row(const float* gate, const float* up, float* out, int64_t count) {
  gate_numbers(gate, up, 1.0F, out, count);
}

MINIMIND_CLONES void swiglu_row(const uint16_t* gate, const uint16_t* up, uint16_t* out, int64_t count) {
  gate_numbers(gate, up, 1.0F, out, count);
}

at::Tensor swiglu(const at::Tensor& gate, const at::Tensor& up) {
  if (gate.is_cuda()) {
    return gpu::swiglu(gate, up);
  }
  if (!has_number_rows(gate) || !up.is_contiguous() || up.scalar_type() != gate.scalar_type()) {
    return swiglu_reference(gate, up);
  }
  const at::Tensor out = at::empty_like(gate);
  const auto run = [&]<class Number>(const Number* from) {
    const auto* const factors = static_cast<const Number*>(up.const_data_ptr());
    auto* const to = static_cast<Number*>(out.mutable_data_ptr());
    for_each_row(gate,
                 [&](int64_t first, int64_t width) { swiglu_row(from + first, factors + first, to + first, width); });
  };
  gate.scalar_type() == at::kFloat ? run(gate.const_data_ptr<float>())
                                   : run(static_cast<const uint16_t*>(gate.const_data_ptr()));
  return out;
}

at::Tensor swiglu_linear(const at::Tensor& gate, const at::Tensor& up, const at::Tensor& weight) {
  return SwigluLinearFunction::apply(gate, up, weight);
}

MINIMIND_CLONES void quick_gelu_row(float* x, int64_t count) {
  gate_numbers<float>(x, nullptr, static_cast<float>(kQuickGeluScale), x, count);
}

MINIMIND_CLONES void quick_gelu_row(uint16_t* x, int64_t count) {
  gate_numbers<uint16_t>(x, nullptr, static_cast<float>(kQuickGeluScale), x, count);
}

void quick_gelu_(const at::Tensor& x) {
  if (x.is_cuda()) {
    gpu::quick_gelu_(x);
    return;
  }
  if (!has_number_rows(x)) {
    x.copy_(quick_gelu_reference(x));
    return;
  }
  const auto run = [&](auto* numbers) {
    for_each_row(x, [&](int64_t first, int64_t width) { quick_gelu_row(numbers + first, width); });
  };
  x.scalar_type() == at::kFloat ? run(x.mutable_data_ptr<float>()) : run(static_cast<uint16_t*>(x.mutable_data_ptr()));
}

}  // namespace minimind
