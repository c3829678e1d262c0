#include "model/ops/composed.h"

#include <ATen/ATen.h>

namespace minimind {

at::Tensor rms_norm_reference(const at::Tensor& x, const at::Tensor& weight, double eps) {
  return std::get<0>(rms_norm_with_factors(x, weight, eps));
}

std::tuple<at::Tensor, at::Tensor> rms_norm_with_factors(const at::Tensor& x, const at::Tensor& weight, double eps) {
  const at::Tensor factors = x.to(at::kFloat).square().mean(-1, /*keepdim=*/true).add_(eps).rsqrt_();
  return {at::mul(x.to(at::kFloat), factors).to(x.scalar_type()) * weight, factors};
}

std::tuple<at::Tensor, at::Tensor> rms_norm_backward_reference(const at::Tensor& gradient, const at::Tensor& x,
                                                               const at::Tensor& weight, const at::Tensor& factors,
                                                               bool needs_weight) {
  const at::Tensor incoming = gradient.to(at::kFloat), normed = at::mul(x.to(at::kFloat), factors);
  at::Tensor weight_gradient;
  if (needs_weight) {
    weight_gradient = at::mul(incoming, normed)
                          .reshape({-1, weight.size(0)})
                          .sum(/*dim=*/0, /*keepdim=*/false)
                          .to(weight.scalar_type());
  }
  at::Tensor x_gradient = at::mul(incoming, weight.to(at::kFloat));
  const at::Tensor dot_products = at::mul(x_gradient, normed).mean(-1, /*keepdim=*/true);
  x_gradient.addcmul_(normed, dot_products, -1.0).mul_(factors);
  return {x_gradient.to(x.scalar_type()), weight_gradient};
}

at::Tensor swiglu_reference(const at::Tensor& gate, const at::Tensor& up) {
  return at::silu(gate).mul_(up);
}

std::tuple<at::Tensor, at::Tensor> swiglu_backward_reference(const at::Tensor& gradient, const at::Tensor& gate,
                                                             const at::Tensor& up) {
  return {at::silu_backward(at::mul(gradient, up), gate), at::silu(gate).mul_(gradient)};
}

at::Tensor quick_gelu_reference(const at::Tensor& x) {
  return at::sigmoid(x * kQuickGeluScale).mul_(x);
}

at::Tensor rope_reference(const at::Tensor& heads, const at::Tensor& rotations, double sign) {
  // view_as_complex takes no odd strides.
  const at::Tensor pairs =
      heads.to(at::kFloat).contiguous().view({heads.size(0), heads.size(1), heads.size(2), heads.size(3) / 2, 2});
  const at::Tensor turns = sign < 0 ? rotations.conj() : rotations;
  const at::Tensor rotated = at::view_as_complex(pairs) * turns.unsqueeze(1);  // [B, S, H, d/2]
  return at::view_as_real(rotated).flatten(-2).to(heads.scalar_type());
}

}  // namespace minimind
