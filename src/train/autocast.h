#pragma once

#include <c10/core/DeviceType.h>
#include <c10/core/ScalarType.h>

namespace minimind {

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

}  // namespace minimind
