#pragma once

#include <c10/core/Device.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

namespace minimind {

/// What happened between two progress lines.
struct Window {
  std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
  double loss_sum = 0;
  int64_t loss_tokens = 0;
  double expert_loss = 0;
  std::vector<double> expert_load;  ///< times that each expert was chosen, layer by layer; empty without experts
  int64_t steps = 0;                ///< optimiser steps
  int64_t samples = 0;
  int64_t words = 0;
  double operations = 0;   ///< needed for the steps, all ranks
  int64_t encoded = 0;     ///< images, counted since the run began: the value at the window's start
  double data_wait = 0;    ///< seconds, counted since the run began: the value at the window's start
  double reduce_wait = 0;  ///< likewise

  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); }
};

/// Peak resident memory of this process.
double peak_memory_mb();
/// Resident memory of this process now.
double resident_memory_mb();
/// Peak of this process's tensors on a GPU; none on a CPU.
std::optional<double> peak_device_memory_mb(const c10::Device& device);

}  // namespace minimind
