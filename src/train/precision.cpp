#include "train/precision.h"

#include <ATen/autocast_mode.h>
#include <ATen/cpu/Utils.h>
#include <ATen/ops/_amp_foreach_non_finite_check_and_unscale.h>
#include <ATen/ops/_amp_update_scale.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>

#include "minimind/base/error.h"
#include "minimind/base/log.h"

namespace minimind {

bool has_native_bfloat16(const c10::Device& device) {
  if (!device.is_cpu()) {
    return true;
  }
  const auto capabilities = at::cpu::get_cpu_capabilities();
  for (const char* name : {"avx512_bf16", "amx_bf16", "arm_bf16"}) {
    const auto found = capabilities.find(name);
    if (found != capabilities.end() && found->second.isBool() && found->second.toBool()) {
      return true;
    }
  }
  return false;
}

at::ScalarType training_dtype(const std::string& dtype, const c10::Device& device) {
  if (dtype == "auto") {
    return device.is_cuda() ? at::kBFloat16 : at::kFloat;
  }
  if (dtype == "bfloat16") {
    if (!has_native_bfloat16(device)) {
      log_warning("--dtype bfloat16: this processor emulates bfloat16 with float32; --dtype float32 is faster");
    }
    return at::kBFloat16;
  }
  if (dtype == "float16") {
    require(device.is_cuda(), "--dtype float16: expected a CUDA device, found ", device.str(), "; use --dtype ",
            has_native_bfloat16(device) ? "bfloat16 or float32"
                                        : "float32 (this processor emulates bfloat16, which is slower)");
    return at::kHalf;
  }
  return at::kFloat;
}

AutocastScope::AutocastScope(c10::DeviceType device, at::ScalarType dtype)
    : device_(device), active_(dtype != at::kFloat) {
  if (!active_) {
    return;
  }
  previous_enabled_ = at::autocast::is_autocast_enabled(device_);
  previous_dtype_ = at::autocast::get_autocast_dtype(device_);
  at::autocast::set_autocast_enabled(device_, true);
  at::autocast::set_autocast_dtype(device_, dtype);
  at::autocast::increment_nesting();
}

AutocastScope::~AutocastScope() {
  if (!active_) {
    return;
  }
  if (at::autocast::decrement_nesting() == 0) {
    at::autocast::clear_cache();
  }
  at::autocast::set_autocast_enabled(device_, previous_enabled_);
  at::autocast::set_autocast_dtype(device_, previous_dtype_);
}

LossScaler::LossScaler(bool enabled, const c10::Device& device) : enabled_(enabled) {
  if (enabled_) {
    scale_ = at::full({}, 65536.0, at::TensorOptions(device).dtype(at::kFloat));
    growth_tracker_ = at::zeros({}, at::TensorOptions(device).dtype(at::kInt));
  }
}

at::Tensor LossScaler::unscale(const std::vector<at::Tensor>& gradients) {
  const c10::NoGradGuard no_grad;
  at::Tensor found_inf = at::zeros({}, scale_.options());
  at::_amp_foreach_non_finite_check_and_unscale_(gradients, found_inf, scale_.reciprocal());
  return found_inf;
}

void LossScaler::update(const at::Tensor& found_inf) {
  constexpr double kGrowth = 2.0;
  constexpr double kBackoff = 0.5;
  constexpr int64_t kGrowthInterval = 2000;
  at::_amp_update_scale_(scale_, growth_tracker_, found_inf, kGrowth, kBackoff, kGrowthInterval);
}

void LossScaler::save(StateDict& state) const {
  if (enabled_) {
    state.add("scaler.scale", scale_.cpu().reshape({1}));
    state.add("scaler.growth_tracker", growth_tracker_.cpu().reshape({1}));
  }
}

void LossScaler::load(const StateDict& state) {
  const at::Tensor* scale = state.find("scaler.scale");
  const at::Tensor* tracker = state.find("scaler.growth_tracker");
  if (enabled_ && scale != nullptr && tracker != nullptr) {
    scale_.copy_(scale->reshape({}));
    growth_tracker_.copy_(tracker->reshape({}));
  }
}

}  // namespace minimind
