#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <string>
#include <vector>

#include "minimind/io/state_dict.h"

namespace minimind {

/// Whether the device has native bfloat16 matmuls; else bfloat16 is slower there than float32.
bool has_native_bfloat16(const c10::Device& device);

/// The dtype of the matmuls for `--dtype` on `device`. `auto`: bfloat16 on CUDA, float32 on a CPU. Throws Error for
/// float16 on a CPU, where training overflows without loss scaling. Warns if the processor has no native bfloat16.
at::ScalarType training_dtype(const std::string& dtype, const c10::Device& device);

/// Autocast to `dtype` while the object lives; no effect for float32. Weights stay float32.
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

/// Loss scaling for float16: multiplies the loss by scale() and divides the gradients by it before the update. If a
/// gradient is not finite, the update is skipped and the scale halves. After 2000 finite steps it doubles.
class LossScaler {
 public:
  /// If not enabled, the scale is 1 and no call has an effect.
  LossScaler(bool enabled, const c10::Device& device);
  bool enabled() const { return enabled_; }
  /// Scalar float32 on the device; undefined if not enabled.
  const at::Tensor& scale() const { return scale_; }
  /// Divides the gradients in place. Returns found_inf: a float32 scalar, 1 if a gradient is not finite.
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
