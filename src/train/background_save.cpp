#include "train/background_save.h"

#include <ATen/DeviceAccelerator.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/from_blob.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <map>
#include <utility>

#include "minimind/base/error.h"
#include "minimind/base/log.h"

namespace minimind {
namespace {

/// Host memory for the copies, in few large pieces: the C library gives each back to the system at once, and CUDA's
/// allocator rounds a piece up to a power of two.
class HostMemory {
 public:
  explicit HostMemory(const c10::Device& device) : is_pinned_(!device.is_cpu()) {}

  /// A tensor with a storage of its own.
  at::Tensor like(const at::Tensor& tensor) {
    constexpr size_t kAlignment = 64;
    const size_t bytes = (tensor.nbytes() + kAlignment - 1) / kAlignment * kAlignment;
    if (!piece_.defined() || used_ + bytes > piece_.nbytes()) {
      piece_ = allocate(static_cast<int64_t>(std::max(bytes, kPieceBytes)));
      used_ = 0;
    }
    void* place = piece_.mutable_data_ptr<uint8_t>() + used_;
    used_ += bytes;
    return at::from_blob(
        place, tensor.sizes(), [piece = piece_](void* /*place*/) {}, at::TensorOptions(tensor.scalar_type()));
  }

 private:
  static constexpr size_t kPieceBytes = size_t{64} << 20;

  at::Tensor allocate(int64_t bytes) {
    const at::TensorOptions options(at::kByte);
    if (is_pinned_) {
      try {
        return at::empty({bytes}, options.pinned_memory(true));
      } catch (const c10::Error& error) {
        is_pinned_ = false;
        log_warning(concat("saving: expected ", bytes, " bytes of pinned memory, found none (",
                           error.what_without_backtrace(), "); going on with other memory: a save takes longer"));
      }
    }
    return at::empty({bytes}, options);
  }

  bool is_pinned_;
  at::Tensor piece_;
  size_t used_ = 0;
};

}  // namespace

SavedTensors copy_to_host(const SavedTensors& live, const c10::Device& device) {
  const c10::NoGradGuard no_grad;
  HostMemory memory(device);
  std::map<const void*, at::Tensor> copies;
  const auto copy = [&](const StateDict& state) {
    StateDict copied;
    for (const auto& [name, tensor] : state.entries()) {
      at::Tensor& known = copies[tensor.const_data_ptr()];
      if (!known.defined() || known.sizes() != tensor.sizes() || known.scalar_type() != tensor.scalar_type()) {
        known = memory.like(tensor);
        known.copy_(tensor, /*non_blocking=*/true);
      }
      copied.add(name, known);
    }
    return copied;
  };
  SavedTensors copied{copy(live.checkpoint), copy(live.weights)};
  if (!device.is_cpu()) {
    at::accelerator::getCurrentStream(device.index()).synchronize();
  }
  return copied;
}

BackgroundSave::~BackgroundSave() {
  try {
    wait();
  } catch (const std::exception& error) {
    log_warning(concat("the checkpoint that was being written was not saved: ", error.what()));
  }
}

bool BackgroundSave::is_due() {
  if (thread_.valid()) {
    if (thread_.wait_for(std::chrono::seconds(0)) != std::future_status::ready) {
      return false;
    }
    thread_.get();
  }
  return minutes_ > 0 && since_start_.seconds() >= 60 * minutes_;
}

void BackgroundSave::start(const SavedTensors& live, Write write) {
  wait();
  const Stopwatch watch;
  since_start_.restart();
  thread_ = std::async(std::launch::async, [write = std::move(write), copies = copy_to_host(live, device_)]() mutable {
    const SavedTensors own = std::move(copies);  // freed when the files are written, not when somebody asks
    write(own);
  });
  waited_seconds_ += watch.seconds();
}

void BackgroundSave::write_now(const SavedTensors& live, const Write& write) {
  wait();
  write(device_.is_cpu() ? live : copy_to_host(live, device_));
}

void BackgroundSave::wait() {
  if (thread_.valid()) {
    const Stopwatch watch;
    thread_.wait();
    waited_seconds_ += watch.seconds();
    thread_.get();
  }
}

}  // namespace minimind
