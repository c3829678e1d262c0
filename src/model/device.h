#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace minimind {

/// Whether `name` is a value of --device: auto, cpu, cuda or cuda:N.
bool is_device_name(std::string_view name);

/// What decides about the device of a process.
struct DeviceChoice {
  std::string name;         ///< value of --device
  int64_t local_rank = 0;   ///< rank among the processes of this host
  int64_t local_ranks = 1;  ///< number of processes on this host
  int64_t gpus = 0;         ///< number of GPUs that this process sees
};

/// The device for this choice. Each process of a host gets its own GPU; if a process sees one GPU, its launcher has
/// chosen it. Throws Error if there are too few GPUs and if several processes would share the named one.
c10::Device choose_device(const DeviceChoice& choice);

/// The device of a value of --device on this machine. `auto` is a GPU if the machine and LibTorch have one, else the
/// CPU. Throws Error like choose_device(), on another name, and on a GPU that this build cannot use.
c10::Device device_of(const std::string& name, int64_t local_rank = 0, int64_t local_ranks = 1);

/// Makes the device current for this thread: else the first call that needs the current device allocates memory on GPU
/// 0. Every thread that uses the device calls it. No effect for a CPU.
void use_device(const c10::Device& device);

/// Whether float32 matmuls on a GPU may use TF32, which keeps 10 of 23 bits of the factors; GPUs from Ampere on have
/// it. No effect for a CPU.
void allow_tf32(const c10::Device& device, bool allowed);

/// Switches the attention of cuDNN off for a GPU. It builds a plan for each shape, half a second forward and backward,
/// and nearly each batch has another length. No effect for a CPU.
void choose_attention_kernels(const c10::Device& device);

}  // namespace minimind
