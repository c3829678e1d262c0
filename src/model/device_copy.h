#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <c10/core/Stream.h>

#include <cstdint>
#include <optional>
#include <vector>

namespace minimind {

/// A CPU tensor of these numbers, int64 [n]: in page-locked memory if they go to a GPU.
at::Tensor index_tensor(const std::vector<int64_t>& numbers, const c10::Device& device);

/// The tensor on the device. On a GPU through page-locked memory, so that the host does not wait for the copy. An
/// undefined tensor stays undefined.
at::Tensor copy_to_device(const at::Tensor& tensor, const c10::Device& device);

/// Copies to a GPU on a stream of their own: they run beside the kernels that are already under way. On a CPU the
/// tensors stay where they are.
class SideCopies {
 public:
  explicit SideCopies(const c10::Device& device);
  /// The tensors on the device, in page-locked memory or not; undefined tensors stay undefined. Kernels of the current
  /// stream that come later wait for the copies; the host does not.
  std::vector<at::Tensor> copy(const std::vector<at::Tensor>& tensors) const;

 private:
  c10::Device device_;
  std::optional<c10::Stream> stream_;
};

}  // namespace minimind
