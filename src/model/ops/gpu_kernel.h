#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <mutex>
#include <utility>

namespace minimind {

/// A kernel of src/model/ops/gpu, compiled on the first launch for the device's compute capability and the dtype.
/// Builds without CUDA cannot launch it.
class GpuKernel {
 public:
  /// Both texts must stay valid. `name`: of the function in `file`.
  GpuKernel(const char* file, const char* name) : file_(file), name_(name) {}

  /// Starts `blocks` blocks of `threads` threads (at most 256) on the current stream of the device of `like`, for
  /// numbers of its dtype. The arguments must have exactly the types of the kernel's parameters. False if the kernel
  /// cannot run here: the caller then uses tensor operations. The first failure is logged as a warning.
  template <class... Arguments>
  bool launch(const at::Tensor& like, int64_t blocks, int64_t threads, Arguments... arguments) {
    void* places[] = {&arguments...};
    return blocks == 0 || launch_at(like, blocks, threads, places);
  }

 private:
  bool launch_at(const at::Tensor& like, int64_t blocks, int64_t threads, void** arguments);
  /// A CUfunction; null if the kernel cannot run there.
  void* function_for(const at::Tensor& like);
  /// Logs the first failure. Returns null.
  void* give_up(const std::string& reason);

  const char* file_;
  const char* name_;
  std::mutex mutex_;
  std::map<std::pair<c10::DeviceIndex, at::ScalarType>, void*> functions_;
  bool has_failed_ = false;
};

}  // namespace minimind
