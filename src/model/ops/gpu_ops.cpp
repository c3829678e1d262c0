#include "model/ops/gpu_ops.h"

#include <ATen/ATen.h>
#include <torch/library.h>

#include <algorithm>
#include <initializer_list>

#include "model/ops/composed.h"
#include "model/ops/gpu_kernel.h"

namespace minimind::gpu {

namespace {

using Two = std::tuple<at::Tensor, at::Tensor>;
using Three = std::tuple<at::Tensor, at::Tensor, at::Tensor>;

Three composed_swiglu_backward(const at::Tensor& gradient, const at::Tensor& gate, const at::Tensor& up) {
  const auto [gate_gradient, up_gradient] = swiglu_backward_reference(gradient, gate, up);
  return {gate_gradient, up_gradient, swiglu_reference(gate, up)};
}

void composed_quick_gelu_(const at::Tensor& x) {
  x.copy_(quick_gelu_reference(x));
}

template <class Signature>
c10::TypedOperatorHandle<Signature> find_op(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
}

#ifdef MINIMIND_WITH_CUDA

constexpr int64_t kThreads = 256;
constexpr int64_t kPackBytes = 16;

bool is_number_type(at::ScalarType dtype) {
  return dtype == at::kFloat || dtype == at::kBFloat16 || dtype == at::kHalf;
}

bool is_aligned(const at::Tensor& tensor, int64_t bytes) {
  return reinterpret_cast<uintptr_t>(tensor.const_data_ptr()) % static_cast<uintptr_t>(bytes) == 0;
}

/// Whether the kernels that take numbers one by one read these tensors: alike, contiguous and aligned.
bool have_packs(std::initializer_list<at::Tensor> tensors) {
  const at::Tensor& first = *tensors.begin();
  return is_number_type(first.scalar_type()) && std::ranges::all_of(tensors, [&](const at::Tensor& tensor) {
           return tensor.scalar_type() == first.scalar_type() && tensor.device() == first.device() &&
                  tensor.sizes() == first.sizes() && tensor.is_contiguous() && is_aligned(tensor, kPackBytes);
         });
}

/// The blocks that give each pack of x a thread.
int64_t blocks_for(const at::Tensor& x) {
  const int64_t numbers = kThreads * kPackBytes / x.element_size();
  return (x.numel() + numbers - 1) / numbers;
}

bool is_float32(const at::Tensor& x, const at::Tensor& weight) {
  return x.scalar_type() == at::kFloat && weight.scalar_type() == at::kFloat;
}

Two cuda_rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  return is_float32(x, weight) ? at::_fused_rms_norm(x, weight.sizes(), weight, eps)
                               : rms_norm_with_factors(x, weight, eps);
}

Two cuda_rms_norm_backward(const at::Tensor& gradient, const at::Tensor& x, const at::Tensor& weight,
                           const at::Tensor& factors, bool needs_weight) {
  return is_float32(x, weight) ? at::_fused_rms_norm_backward(gradient.to(at::kFloat), x, weight.sizes(), factors,
                                                              weight, {true, needs_weight})
                               : rms_norm_backward_reference(gradient, x, weight, factors, needs_weight);
}

at::Tensor cuda_swiglu(const at::Tensor& gate, const at::Tensor& up) {
  static GpuKernel kernel("swiglu.cuh", "swiglu");
  if (have_packs({gate, up})) {
    at::Tensor product = at::empty_like(gate);
    if (kernel.launch(gate, blocks_for(gate), kThreads, gate.const_data_ptr(), up.const_data_ptr(),
                      product.mutable_data_ptr(), static_cast<long long>(gate.numel()))) {
      return product;
    }
  }
  return swiglu_reference(gate, up);
}

Three cuda_swiglu_backward(const at::Tensor& gradient, const at::Tensor& gate, const at::Tensor& up) {
  static GpuKernel kernel("swiglu.cuh", "swiglu_backward");
  if (have_packs({gradient, gate, up})) {
    at::Tensor to_gate = at::empty_like(gate), to_up = at::empty_like(up), product = at::empty_like(gate);
    if (kernel.launch(gate, blocks_for(gate), kThreads, gradient.const_data_ptr(), gate.const_data_ptr(),
                      up.const_data_ptr(), to_gate.mutable_data_ptr(), to_up.mutable_data_ptr(),
                      product.mutable_data_ptr(), static_cast<long long>(gate.numel()))) {
      return {to_gate, to_up, product};
    }
  }
  return composed_swiglu_backward(gradient, gate, up);
}

void cuda_quick_gelu_(const at::Tensor& x) {
  static GpuKernel kernel("quick_gelu.cuh", "quick_gelu");
  if (!have_packs({x}) ||
      !kernel.launch(x, blocks_for(x), kThreads, x.mutable_data_ptr(), static_cast<long long>(x.numel()))) {
    composed_quick_gelu_(x);
  }
}

/// Whether the kernel reads heads [B, S, H, d] as they lie: a head's numbers are neighbours, in aligned pairs.
bool has_pairs(const at::Tensor& heads) {
  const at::IntArrayRef strides = heads.strides();
  return strides[3] == 1 && std::ranges::all_of(strides.slice(0, 3), [](int64_t stride) { return stride % 2 == 0; }) &&
         is_aligned(heads, 2 * heads.element_size());
}

at::Tensor cuda_rope(const at::Tensor& heads, const at::Tensor& rotations, double sign) {
  static GpuKernel kernel("rope.cuh", "rope");
  if (is_number_type(heads.scalar_type()) && rotations.scalar_type() == at::kComplexFloat && heads.size(3) % 2 == 0) {
    const at::Tensor from = has_pairs(heads) ? heads : heads.contiguous(), turns = rotations.contiguous();
    at::Tensor rotated = at::empty(heads.sizes(), heads.options());
    const int64_t samples = heads.size(0), positions = heads.size(1), pairs = heads.size(2) * heads.size(3) / 2;
    const int64_t threads = std::clamp<int64_t>((pairs + 31) / 32 * 32, 32, kThreads);
    if (kernel.launch(heads, samples * positions, threads, from.const_data_ptr(), turns.const_data_ptr(),
                      rotated.mutable_data_ptr(), static_cast<float>(sign), static_cast<int>(positions),
                      static_cast<int>(heads.size(2)), static_cast<int>(heads.size(3) / 2),
                      static_cast<long long>(from.stride(0)), static_cast<long long>(from.stride(1)),
                      static_cast<long long>(from.stride(2)))) {
      return rotated;
    }
  }
  return rope_reference(heads, rotations, sign);
}

TORCH_LIBRARY_IMPL(minimind, CUDA, library) {
  library.impl("rms_norm", TORCH_FN(cuda_rms_norm));
  library.impl("rms_norm_backward", TORCH_FN(cuda_rms_norm_backward));
  library.impl("swiglu", TORCH_FN(cuda_swiglu));
  library.impl("swiglu_backward", TORCH_FN(cuda_swiglu_backward));
  library.impl("quick_gelu_", TORCH_FN(cuda_quick_gelu_));
  library.impl("rope", TORCH_FN(cuda_rope));
}

#endif

TORCH_LIBRARY(minimind, library) {
  library.def("rms_norm(Tensor x, Tensor weight, float eps) -> (Tensor, Tensor)");
  library.def(
      "rms_norm_backward(Tensor gradient, Tensor x, Tensor weight, Tensor factors, bool needs_weight) -> (Tensor, "
      "Tensor)");
  library.def("swiglu(Tensor gate, Tensor up) -> Tensor");
  library.def("swiglu_backward(Tensor gradient, Tensor gate, Tensor up) -> (Tensor, Tensor, Tensor)");
  library.def("quick_gelu_(Tensor(a!) x) -> ()");
  library.def("rope(Tensor heads, Tensor rotations, float sign) -> Tensor");
}

TORCH_LIBRARY_IMPL(minimind, CPU, library) {
  library.impl("rms_norm", TORCH_FN(rms_norm_with_factors));
  library.impl("rms_norm_backward", TORCH_FN(rms_norm_backward_reference));
  library.impl("swiglu", TORCH_FN(swiglu_reference));
  library.impl("swiglu_backward", TORCH_FN(composed_swiglu_backward));
  library.impl("quick_gelu_", TORCH_FN(composed_quick_gelu_));
  library.impl("rope", TORCH_FN(rope_reference));
}

TORCH_LIBRARY_IMPL(minimind, Autograd, library) {
  for (const char* name : {"rms_norm", "rms_norm_backward", "swiglu", "swiglu_backward", "quick_gelu_", "rope"}) {
    library.impl(name, torch::CppFunction::makeFallthrough());
  }
}

}  // namespace

std::tuple<at::Tensor, at::Tensor> rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  static const auto op = find_op<Two(const at::Tensor&, const at::Tensor&, double)>("minimind::rms_norm");
  return op.call(x, weight, eps);
}

std::tuple<at::Tensor, at::Tensor> rms_norm_backward(const at::Tensor& gradient, const at::Tensor& x,
                                                     const at::Tensor& weight, const at::Tensor& factors,
                                                     bool needs_weight) {
  static const auto op = find_op<Two(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, bool)>(
      "minimind::rms_norm_backward");
  return op.call(gradient, x, weight, factors, needs_weight);
}

at::Tensor swiglu(const at::Tensor& gate, const at::Tensor& up) {
  static const auto op = find_op<at::Tensor(const at::Tensor&, const at::Tensor&)>("minimind::swiglu");
  return op.call(gate, up);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> swiglu_backward(const at::Tensor& gradient, const at::Tensor& gate,
                                                               const at::Tensor& up) {
  static const auto op =
      find_op<Three(const at::Tensor&, const at::Tensor&, const at::Tensor&)>("minimind::swiglu_backward");
  return op.call(gradient, gate, up);
}

void quick_gelu_(const at::Tensor& x) {
  static const auto op = find_op<void(const at::Tensor&)>("minimind::quick_gelu_");
  op.call(x);
}

at::Tensor rope(const at::Tensor& heads, const at::Tensor& rotations, double sign) {
  static const auto op = find_op<at::Tensor(const at::Tensor&, const at::Tensor&, double)>("minimind::rope");
  return op.call(heads, rotations, sign);
}

}  // namespace minimind::gpu
