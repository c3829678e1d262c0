#pragma once

#include <c10/core/Device.h>

#include <chrono>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

namespace minimind::detail {

/// What one rank needs for collectives on its GPU.
struct DeviceBackendRequest {
  c10::intrusive_ptr<c10d::Store> store;  ///< with a prefix of its own
  int rank = 0;
  int world_size = 1;
  c10::Device device = c10::kCPU;
  std::chrono::milliseconds timeout{};  ///< of each collective
};

/// The C function with this name makes the backend if a library that is loaded with the program has one: the tests'
/// stand-in for NCCL. It returns a new object.
constexpr const char* kDeviceBackendHook = "minimind_device_backend";
using DeviceBackendHook = c10d::Backend* (*)(const DeviceBackendRequest& request);

/// The only place that makes a backend for a device other than the CPU: NCCL in a build with CUDA. Throws Error if
/// there is none.
c10::intrusive_ptr<c10d::Backend> make_device_backend(const DeviceBackendRequest& request);

/// Ends the backend: with the other ranks, or after a failure without them. Logs what fails.
void close_device_backend(c10d::Backend& backend, bool has_failed);

}  // namespace minimind::detail
