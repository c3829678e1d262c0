#include "minimind/model/rope.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <stdexcept>

#include "model/row_passes.h"

namespace minimind {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kFewestPositions = 512;

class TurnFunction : public torch::autograd::Function<TurnFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& heads, const at::Tensor& rotations) {
    context->save_for_backward({rotations});
    return turned(heads, rotations, false);
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    return {turned(gradients[0], context->get_saved_variables()[0], true), at::Tensor()};
  }

 private:
  static at::Tensor turned(const at::Tensor& heads, const at::Tensor& rotations, bool conjugate) {
    const at::Tensor plain = heads.contiguous();
    const at::Tensor output = at::empty_like(plain);
    detail::turn_pairs(plain, rotations.contiguous(), conjugate, output);
    return output;
  }
};

at::Tensor compute_rotations(int64_t head_dim, int64_t positions, const at::Device& device) {
  // Float32 arithmetic in the reference's order: released weights were trained with exactly these angles.
  const at::Tensor exponents = at::arange(0, head_dim, 2, at::kFloat).div(static_cast<double>(head_dim));
  const at::Tensor frequencies = at::pow(RopeTable::kTheta, exponents).reciprocal();
  const at::Tensor angles = at::outer(at::arange(positions, at::kFloat), frequencies);  // [positions, d/2]
  return at::polar(at::ones_like(angles), angles).to(device);
}

}  // namespace

RopeSlice RopeTable::slice(int64_t start, int64_t count, const at::Device& device) {
  if (start < 0 || count < 0) {
    throw std::logic_error("RopeTable::slice: negative start or count");
  }
  const int64_t needed = start + count;
  if (!table_.defined() || table_.device() != device || table_.size(0) < needed) {
    const int64_t held = table_.defined() ? table_.size(0) : 0;
    table_ = compute_rotations(head_dim_, std::max({needed, 2 * held, kFewestPositions}), device);
  }
  return {table_.narrow(0, start, count)};
}

at::Tensor apply_rope(const at::Tensor& heads, const RopeSlice& rope) {
  const bool has_pass = heads.scalar_type() == at::kFloat || heads.scalar_type() == at::kBFloat16;
  if (heads.is_cpu() && has_pass) {
    return TurnFunction::apply(heads, rope.rotations);
  }
  const int64_t pairs = heads.size(-1) / 2;
  const at::Tensor wide = heads.to(at::kFloat);
  const at::Tensor complex = at::view_as_complex(wide.reshape({heads.size(0), heads.size(1), heads.size(2), pairs, 2}));
  const at::Tensor rotated = complex * rope.rotations.unsqueeze(1);  // [B, S, n, d/2]
  return at::view_as_real(rotated).flatten(-2).to(heads.scalar_type());
}

}  // namespace minimind
