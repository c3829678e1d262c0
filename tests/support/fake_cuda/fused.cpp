// Operations that a real card has as one kernel and the CPU has in another form: attention and RMS norm.
#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/native/transformers/attention.h>
#include <ATen/native/transformers/sdp_utils_cpp.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu_backward.h>
#include <ATen/ops/zeros.h>
#include <c10/core/DeviceGuard.h>
#include <torch/library.h>

#include <array>
#include <limits>
#include <tuple>
#include <vector>

#include "counts.h"
#include "races.h"
#include "tensors.h"

namespace fake_cuda {
namespace {

using at::Tensor;
using std::optional;

/// An operation that reads these tensors.
void start(const char* name, const std::vector<Tensor>& inputs) {
  Counts::get().operation(name, inputs.front().device().index());
  for (const Tensor& input : inputs) {
    touch(input, false);
  }
}

// Attention.

/// The choice of a card of compute capability 9.0: flash for 16-bit numbers without a mask; the memory-efficient kernel
/// for float32 and for masks, which takes no shared keys; else single operations.
int64_t choose_attention(const Tensor& query, const Tensor& key, const Tensor&, const optional<Tensor>& mask,
                         double dropout, bool, optional<double>, bool) {
  const bool is_half = query.scalar_type() == at::kBFloat16 || query.scalar_type() == at::kHalf;
  if (dropout > 0) {  // the CPU's kernels have no dropout
    return static_cast<int64_t>(sdp::SDPBackend::math);
  }
  if (is_half && at::globalContext().userEnabledCuDNNSDP()) {
    Counts::get().note("cuDNN attention");
    TORCH_CHECK(setting("FAKE_CUDA_STRICT", 0) == 0, "make-believe CUDA: attention of cuDNN was chosen");
  }
  if (is_half && !mask && at::globalContext().userEnabledFlashSDP()) {
    return static_cast<int64_t>(sdp::SDPBackend::flash_attention);
  }
  if (query.size(1) == key.size(1) && at::globalContext().userEnabledMemEfficientSDP()) {
    return static_cast<int64_t>(sdp::SDPBackend::efficient_attention);
  }
  return static_cast<int64_t>(sdp::SDPBackend::math);
}

/// [B, K, T, d] to [B, H, T, d]: each key or value head serves H/K query heads.
Tensor spread(const Tensor& heads, int64_t query_heads) {
  return heads.size(1) == query_heads ? heads : heads.repeat_interleave(query_heads / heads.size(1), 1);
}

Tensor gather(const Tensor& gradient, int64_t heads) {
  if (gradient.size(1) == heads) {
    return gradient;
  }
  const auto shape = gradient.sizes();
  return gradient.view({shape[0], heads, shape[1] / heads, shape[2], shape[3]}).sum(2);
}

Tensor mask_of(const optional<Tensor>& mask) {
  return mask && mask->defined() ? cpu_alias(*mask) : Tensor();
}
optional<Tensor> given(const Tensor& mask) {
  return mask.defined() ? optional(mask) : std::nullopt;
}

std::tuple<Tensor, Tensor> attend(const char* name, const Tensor& query, const Tensor& key, const Tensor& value,
                                  const optional<Tensor>& mask, bool is_causal, optional<double> scale) {
  start(name, {query, key, value, mask ? *mask : Tensor()});
  const at::AutoDispatchBelowADInplaceOrView below;
  const auto [output, sums] = at::_scaled_dot_product_flash_attention_for_cpu(
      cpu_alias(query), spread(cpu_alias(key), query.size(1)), spread(cpu_alias(value), query.size(1)), 0.0, is_causal,
      given(mask_of(mask)), scale);
  return {to_card(output, query.device()), to_card(sums, query.device())};
}

struct Attended {
  const Tensor &gradient, &query, &key, &value, &output, &sums;
};
std::tuple<Tensor, Tensor, Tensor> attend_backward(const char* name, const Attended& of, const optional<Tensor>& mask,
                                                   bool is_causal, optional<double> scale) {
  const c10::Device device = of.query.device();
  start(name, {of.gradient, of.query, of.key, of.value, of.output, of.sums});
  const at::AutoDispatchBelowADInplaceOrView below;
  const auto [query, key, value] = at::_scaled_dot_product_flash_attention_for_cpu_backward(
      cpu_alias(of.gradient), cpu_alias(of.query), spread(cpu_alias(of.key), of.query.size(1)),
      spread(cpu_alias(of.value), of.query.size(1)), cpu_alias(of.output), cpu_alias(of.sums), 0.0, is_causal,
      given(mask_of(mask)), scale);
  return {to_card(query, device), to_card(gather(key, of.key.size(1)), device),
          to_card(gather(value, of.value.size(1)), device)};
}

Tensor nothing(const Tensor& like) {
  return to_card(at::zeros({0}, at::TensorOptions(at::kLong)), like.device());
}

using FlashResult = std::tuple<Tensor, Tensor, Tensor, Tensor, c10::SymInt, c10::SymInt, Tensor, Tensor, Tensor>;
FlashResult flash(const Tensor& query, const Tensor& key, const Tensor& value, double, bool is_causal, bool,
                  optional<double> scale) {
  auto [output, sums] = attend("aten::_scaled_dot_product_flash_attention", query, key, value, {}, is_causal, scale);
  const Tensor none = nothing(query);
  return {output, sums, Tensor(), Tensor(), query.size(2), key.size(2), none, none, none};
}

std::tuple<Tensor, Tensor, Tensor> flash_backward(const Tensor& gradient, const Tensor& query, const Tensor& key,
                                                  const Tensor& value, const Tensor& output, const Tensor& sums,
                                                  const Tensor&, const Tensor&, c10::SymInt, c10::SymInt, double,
                                                  bool is_causal, const Tensor&, const Tensor&,
                                                  optional<double> scale) {
  return attend_backward("aten::_scaled_dot_product_flash_attention_backward",
                         {gradient, query, key, value, output, sums}, {}, is_causal, scale);
}

std::tuple<Tensor, Tensor, Tensor, Tensor> efficient(const Tensor& query, const Tensor& key, const Tensor& value,
                                                     const optional<Tensor>& mask, bool, double, bool is_causal,
                                                     optional<double> scale) {
  auto [output, sums] =
      attend("aten::_scaled_dot_product_efficient_attention", query, key, value, mask, is_causal, scale);
  const Tensor none = nothing(query);
  return {output, sums, none, none};
}

std::tuple<Tensor, Tensor, Tensor, Tensor> efficient_backward(const Tensor& gradient, const Tensor& query,
                                                              const Tensor& key, const Tensor& value,
                                                              const Tensor& mask, const Tensor& output,
                                                              const Tensor& sums, const Tensor&, const Tensor&, double,
                                                              std::array<bool, 4>, bool is_causal,
                                                              optional<double> scale) {
  const auto [of_query, of_key, of_value] =
      attend_backward("aten::_scaled_dot_product_efficient_attention_backward",
                      {gradient, query, key, value, output, sums}, mask, is_causal, scale);
  return {of_query, of_key, of_value, Tensor()};
}

// RMS norm.

/// (normalised rows in the input's dtype, 1 / root mean square of each row in float32)
std::tuple<Tensor, Tensor> rms_norm(const Tensor& input, at::IntArrayRef shape, const optional<Tensor>& weight,
                                    optional<double> epsilon) {
  TORCH_CHECK(shape.size() == 1, "make-believe CUDA: _fused_rms_norm over one dimension is expected");
  start("aten::_fused_rms_norm", {input, weight ? *weight : Tensor()});
  const at::AutoDispatchBelowADInplaceOrView below;
  const Tensor x = cpu_alias(input).to(at::kFloat);
  const double smallest = epsilon.value_or(std::numeric_limits<float>::epsilon());
  const Tensor scale = (x.square().mean(-1, true) + smallest).rsqrt();
  Tensor out = x * scale;
  if (weight && weight->defined()) {
    out = out * cpu_alias(*weight).to(at::kFloat);
  }
  return {to_card(out.to(input.scalar_type()), input.device()), to_card(scale, input.device())};
}

std::tuple<Tensor, Tensor> rms_norm_backward(const Tensor& gradient, const Tensor& input, at::IntArrayRef shape,
                                             const Tensor& scale, const optional<Tensor>& weight,
                                             std::array<bool, 2> wanted) {
  start("aten::_fused_rms_norm_backward", {input, gradient, scale, weight ? *weight : Tensor()});
  const at::AutoDispatchBelowADInplaceOrView below;
  const Tensor g = cpu_alias(gradient).to(at::kFloat), r = cpu_alias(scale);
  const Tensor normed = cpu_alias(input).to(at::kFloat) * r;
  Tensor of_input, of_weight;
  if (wanted[0]) {
    const Tensor inner = weight && weight->defined() ? g * cpu_alias(*weight).to(at::kFloat) : g;
    const Tensor along = (inner * normed).mean(-1, true);
    of_input = to_card(((inner - normed * along) * r).to(input.scalar_type()), input.device());
  }
  if (wanted[1] && weight && weight->defined()) {
    of_weight = to_card((g * normed).reshape({-1, shape[0]}).sum(0).to(weight->scalar_type()), input.device());
  }
  return {of_input, of_weight};
}

}  // namespace

void register_fused() {
  at::native::_fused_sdp_choice_stub.set_cuda_dispatch_ptr(&choose_attention);
}

}  // namespace fake_cuda

TORCH_LIBRARY_IMPL(aten, CUDA, m) {
  m.impl("_scaled_dot_product_flash_attention", TORCH_FN(fake_cuda::flash));
  m.impl("_scaled_dot_product_flash_attention_backward", TORCH_FN(fake_cuda::flash_backward));
  m.impl("_scaled_dot_product_efficient_attention", TORCH_FN(fake_cuda::efficient));
  m.impl("_scaled_dot_product_efficient_attention_backward", TORCH_FN(fake_cuda::efficient_backward));
  m.impl("_fused_rms_norm", TORCH_FN(fake_cuda::rms_norm));
  m.impl("_fused_rms_norm_backward", TORCH_FN(fake_cuda::rms_norm_backward));
}
