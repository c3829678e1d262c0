#include "model/ops/rope.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include "model/ops/composed.h"
#include "model/ops/gpu_ops.h"
#include "model/ops/row_loops.h"

namespace minimind {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr double kTheta = 10000.0;

template <class Number>
inline void rotate_heads(const Number* x, const float* rotations, float sign, Number* y, int64_t heads, int64_t width) {
  using detail::to_float;
  for (int64_t head = 0; head < heads; ++head, x += width, y += width) {
    for (int64_t i = 0; i < width; i += 2) {
      const float a = to_float(x[i]), b = to_float(x[i + 1]), cosine = rotations[i], sine = sign * rotations[i + 1];
      detail::store(a * cosine - b * sine, y + i);
      detail::store(a * sine + b * cosine, y + i + 1);
    }
  }
}

template <class Number>
void rope_rows(const void* x, const float* rotations, float sign, void* y, at::IntArrayRef sizes) {
  const int64_t positions = sizes[1], heads = sizes[2], width = sizes[3], stride = heads * width;
  at::parallel_for(0, sizes[0] * positions, 32, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      rope_row(static_cast<const Number*>(x) + row * stride, rotations + row % positions * width, sign,
               static_cast<Number*>(y) + row * stride, heads, width);
    }
  });
}

class RopeFunction : public torch::autograd::Function<RopeFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& heads, const at::Tensor& rotations) {
    context->save_for_backward({rotations});
    return rotated(heads, rotations, 1.0F);
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    return {rotated(gradients[0], context->get_saved_variables()[0], -1.0F), at::Tensor()};
  }

 private:
  static at::Tensor rotated(const at::Tensor& heads, const at::Tensor& rotations, float sign) {
    if (heads.is_cuda()) {
      return gpu::rope(heads, rotations, sign);
    }
    const at::Tensor x = heads.contiguous(), angles = rotations.contiguous();
    const at::Tensor y = at::empty_like(x);
    const auto rows = x.scalar_type() == at::kFloat ? rope_rows<float> : rope_rows<uint16_t>;
    rows(x.const_data_ptr(), static_cast<const float*>(angles.const_data_ptr()), sign, y.mutable_data_ptr(), x.sizes());
    return y;
  }
};

}  // namespace

at::Tensor rope_rotations(int64_t head_dim, int64_t positions, const at::Device& device) {
  // Float32 arithmetic in the original's order: released weights were trained with exactly these angles.
  const at::Tensor exponents = at::arange(0, head_dim, 2, at::kFloat).div(static_cast<double>(head_dim));
  const at::Tensor frequencies = at::pow(kTheta, exponents).reciprocal();
  const at::Tensor angles = at::outer(at::arange(positions, at::kFloat), frequencies);  // [positions, d/2]
  return at::polar(at::ones_like(angles), angles).to(device);
}

MINIMIND_CLONES void rope_row(const float* x, const float* rotations, float sign, float* y, int64_t heads,
                              int64_t width) {
  rotate_heads(x, rotations, sign, y, heads, width);
}

MINIMIND_CLONES void rope_row(const uint16_t* x, const float* rotations, float sign, uint16_t* y, int64_t heads,
                              int64_t width) {
  rotate_heads(x, rotations, sign, y, heads, width);
}

at::Tensor apply_rope(const at::Tensor& heads, const at::Tensor& rotations) {
  const bool has_row_form = heads.scalar_type() == at::kFloat || heads.scalar_type() == at::kBFloat16;
  return heads.is_cuda() || (heads.is_cpu() && has_row_form) ? RopeFunction::apply(heads, rotations)
                                                             : rope_reference(heads, rotations);
}

}  // namespace minimind
