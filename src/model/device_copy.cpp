#include "model/device_copy.h"

#include <ATen/core/TensorBody.h>
#include <ATen/ops/empty.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>

namespace minimind {

at::Tensor index_tensor(const std::vector<int64_t>& numbers, const c10::Device& device) {
  const at::TensorOptions options = at::TensorOptions(at::kLong).pinned_memory(!device.is_cpu());
  at::Tensor tensor = at::empty({std::ssize(numbers)}, options);
  std::copy(numbers.begin(), numbers.end(), tensor.mutable_data_ptr<int64_t>());
  return tensor;
}

at::Tensor copy_to_device(const at::Tensor& tensor, const c10::Device& device) {
  if (!tensor.defined() || tensor.device() == device) {
    return tensor;
  }
  if (device.is_cpu() || !tensor.is_cpu()) {
    return tensor.to(device);
  }
  return tensor.pin_memory().to(device, /*non_blocking=*/true);
}

SideCopies::SideCopies(const c10::Device& device) : device_(device) {
  if (!device.is_cpu()) {
    stream_ = c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device);
  }
}

std::vector<at::Tensor> SideCopies::copy(const std::vector<at::Tensor>& tensors) const {
  if (!stream_) {
    return tensors;
  }
  const c10::Stream current = c10::impl::VirtualGuardImpl(device_.type()).getStream(device_);
  c10::Event copied(device_.type());
  std::vector<at::Tensor> copies;
  {
    const c10::StreamGuard guard(*stream_);
    for (const at::Tensor& tensor : tensors) {
      copies.push_back(copy_to_device(tensor, device_));
    }
    copied.record(*stream_);
  }
  copied.block(current);
  // Their memory belongs to the side stream: without a record its next copy could overwrite what a kernel still reads.
  for (const at::Tensor& copy : copies) {
    if (copy.defined()) {
      at::getDeviceAllocator(device_.type())->recordStream(copy.storage().data_ptr(), current);
    }
  }
  return copies;
}

}  // namespace minimind
