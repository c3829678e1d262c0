#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <string>
#include <vector>

#include "minimind/io/state_dict.h"

namespace minimind {

/// Whether the device multiplies bfloat16 itself; else it is slower there than float32.
bool has_native_bfloat16(const c10::Device& device);

/// The number format of the matrix products for `--dtype` on `device`. `auto`: bfloat16 on CUDA, float32 on a CPU.
/// Throws Error on float16 on a CPU, where training in it has no loss scaling and overflows; warns of bfloat16 where
/// the processor does not have it.
at::ScalarType training_dtype(const std::string& dtype, const c10::Device& device);

/// Autocast to `dtype` while the object lives; nothing for float32. Weights stay float32.
class AutocastScope {
 public:
  AutocastScope(c10::DeviceType device, at::ScalarType dtype);
  ~AutocastScope();
  AutocastScope(const AutocastScope&) = delete;
  AutocastScope& operator=(const AutocastScope&) = delete;

 private:
  c10::DeviceType device_;
  bool active_;
  bool previous_enabled_ = false;
  at::ScalarType previous_dtype_ = at::kFloat;
};

/// Loss scaling for float16: the loss is multiplied by scale(); gradients are divided by it before the update, which is
/// left out where one is not finite; the scale halves then, and doubles after 2000 good steps.
class LossScaler {
 public:
  /// Not enabled: scale 1, and every call does nothing.
  LossScaler(bool enabled, const c10::Device& device);
  bool enabled() const { return enabled_; }
  /// Scalar float32 on the device; undefined if not enabled.
  const at::Tensor& scale() const { return scale_; }
  /// Divides the gradients in place. Returns found_inf: a float32 scalar, 1 where a gradient is not finite.
  at::Tensor unscale(const std::vector<at::Tensor>& gradients);
  void update(const at::Tensor& found_inf);
  void save(StateDict& state) const;
  void load(const StateDict& state);

 private:
  bool enabled_;
  at::Tensor scale_;
  at::Tensor growth_tracker_;
};

}  // namespace minimind
