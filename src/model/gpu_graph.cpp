#include "model/gpu_graph.h"

#ifdef MINIMIND_WITH_CUDA
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#endif

#include <exception>
#include <utility>

#include "minimind/base/error.h"
#include "minimind/base/log.h"

namespace minimind {

namespace {

constexpr int64_t kWarmUps = 2;

}  // namespace

#ifdef MINIMIND_WITH_CUDA
namespace {

class CudaGraph : public RecordedWork {
 public:
  explicit CudaGraph(const std::function<void()>& work) {
    // Threads of the loader may call CUDA meanwhile.
    graph_.capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
    try {
      work();
    } catch (...) {
      try {
        graph_.capture_end();
      } catch (const std::exception&) {  // the capture is invalid: the first error says why
      }
      throw;
    }
    graph_.capture_end();
  }
  void replay() override { graph_.replay(); }

 private:
  at::cuda::CUDAGraph graph_;
};

}  // namespace

Recorder graph_recorder(const c10::Device& device) {
  if (!device.is_cuda()) {
    return {};
  }
  return [device](const std::function<void()>& work) -> std::unique_ptr<RecordedWork> {
    // CUDA records no default stream.
    const c10::cuda::CUDAStreamGuard guard(c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device.index()));
    c10::cuda::device_synchronize();
    return std::make_unique<CudaGraph>(work);
  };
}
#else
Recorder graph_recorder(const c10::Device& /*device*/) {
  return {};
}
#endif

RepeatedWork::RepeatedWork(Recorder recorder, size_t most, std::string purpose)
    : recorder_(std::move(recorder)), most_(most), purpose_(std::move(purpose)) {}

void RepeatedWork::run(int64_t key, const std::function<void()>& work) {
  const auto found = recorded_.find(key);
  if (found != recorded_.end()) {
    found->second->replay();
    return;
  }
  if (!recorder_ || recorded_.size() >= most_ || ++runs_[key] <= kWarmUps || !record(key, work)) {
    work();
    return;
  }
  recorded_.at(key)->replay();
}

/// False after a failure.
bool RepeatedWork::record(int64_t key, const std::function<void()>& work) {
  try {
    recorded_[key] = recorder_(work);
    return true;
  } catch (const std::exception& error) {
    const std::string text = error.what();
    log_warning(concat(purpose_, ": expected to record a CUDA graph, found an error (", text.substr(0, text.find('\n')),
                       "); each kernel is started by itself, which is slower"));
    recorder_ = nullptr;
    recorded_.clear();
    return false;
  }
}

}  // namespace minimind
