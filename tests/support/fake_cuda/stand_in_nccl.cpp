// A stand-in for NCCL on the make-believe device: collectives over Gloo on copies in host memory. Like NCCL it refuses
// tensors of another device, gives futures that carry the device, and stays silent if another rank is gone. The
// programs find it by the name of the C function below. Environment: STAND_IN_NCCL_LOG=FILE             a line for each
// backend that is shut down or aborted
//              STAND_IN_NCCL_OUT_OF_MEMORY_AT=N   the N-th allreduce of this process runs out of memory
#include <c10/util/Exception.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <utility>
#include <vector>

#include "dist/device_backend.h"

namespace minimind::testing {
namespace {

/// Work that is done; what waits for it waits for the device.
class DoneWork final : public c10d::Work {
 public:
  DoneWork(int rank, c10d::OpType type, const std::vector<at::Tensor>& tensors, c10::Device device)
      : c10d::Work(rank, type),
        future_(c10::make_intrusive<c10::ivalue::Future>(c10::ListType::create(c10::TensorType::get()),
                                                         std::vector<c10::Device>{device})) {
    future_->markCompleted(c10::IValue(tensors));
  }
  c10::intrusive_ptr<c10::ivalue::Future> getFuture() override { return future_; }
  bool wait(std::chrono::milliseconds /*timeout*/) override { return true; }
  bool isCompleted() override { return true; }
  bool isSuccess() const override { return true; }

 private:
  c10::intrusive_ptr<c10::ivalue::Future> future_;
};

class StandInNccl final : public c10d::Backend {
 public:
  explicit StandInNccl(const detail::DeviceBackendRequest& request)
      : Backend(request.rank, request.world_size), device_(request.device) {
    auto options = c10d::ProcessGroupGloo::Options::create();
    options->timeout = request.timeout;
    options->devices.push_back(c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1"));
    gloo_ = c10::make_intrusive<c10d::ProcessGroupGloo>(
        c10::make_intrusive<c10d::PrefixStore>("stand_in", request.store), request.rank, request.world_size, options);
  }
  const std::string getBackendName() const override { return "nccl"; }

  c10::intrusive_ptr<c10d::Work> allreduce(std::vector<at::Tensor>& tensors,
                                           const c10d::AllreduceOptions& options) override {
    static const char* const fails_at = std::getenv("STAND_IN_NCCL_OUT_OF_MEMORY_AT");
    if (fails_at != nullptr && allreduces_ + 1 == std::atoi(fails_at)) {
      throw c10::OutOfMemoryError({}, "CUDA out of memory. Tried to allocate 20.00 MiB.");
    }
    ++allreduces_;
    return run(c10d::OpType::ALLREDUCE, tensors,
               [&](std::vector<at::Tensor>& host) { gloo_->allreduce(host, options)->wait(); });
  }
  c10::intrusive_ptr<c10d::Work> broadcast(std::vector<at::Tensor>& tensors,
                                           const c10d::BroadcastOptions& options) override {
    return run(c10d::OpType::BROADCAST, tensors,
               [&](std::vector<at::Tensor>& host) { gloo_->broadcast(host, options)->wait(); });
  }
  void shutdown() override { log("shutdown"); }
  void abort() override { log("abort"); }

 private:
  template <class Collective>
  c10::intrusive_ptr<c10d::Work> run(c10d::OpType type, std::vector<at::Tensor>& tensors,
                                     const Collective& collective) {
    TORCH_CHECK(tensors.size() == 1 && tensors[0].device() == device_ && tensors[0].is_contiguous(),
                "stand-in for NCCL: expected one contiguous tensor on ", device_.str());
    std::vector<at::Tensor> host = {tensors[0].cpu()};
    try {
      collective(host);
    } catch (const std::exception&) {
      // NCCL's kernel would wait for the rank that is gone.
      std::this_thread::sleep_for(std::chrono::seconds(120));
      throw;
    }
    tensors[0].copy_(host[0]);
    return c10::make_intrusive<DoneWork>(getRank(), type, tensors, device_);
  }
  /// One write for each line: several processes share the file.
  void log(const char* end) const {
    if (const char* path = std::getenv("STAND_IN_NCCL_LOG")) {
      std::ostringstream line;
      line << end << ": rank " << getRank() << " of " << getSize() << " on " << device_.str() << ", " << allreduces_
           << " allreduces\n";
      std::ofstream(path, std::ios::app) << line.str() << std::flush;
    }
  }

  c10::Device device_;
  c10::intrusive_ptr<c10d::ProcessGroupGloo> gloo_;
  std::atomic<int64_t> allreduces_ = 0;
};

}  // namespace
}  // namespace minimind::testing

extern "C" __attribute__((visibility("default"))) c10d::Backend* minimind_device_backend(
    const minimind::detail::DeviceBackendRequest& request) {
  return c10::make_intrusive<minimind::testing::StandInNccl>(request).release();
}
