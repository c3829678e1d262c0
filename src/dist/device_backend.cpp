#include "dist/device_backend.h"

#include <dlfcn.h>

#include <exception>
#ifdef USE_C10D_NCCL
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#endif

#include "dist/collective.h"
#include "minimind/base/error.h"
#include "minimind/base/log.h"

namespace minimind::detail {

c10::intrusive_ptr<c10d::Backend> make_device_backend(const DeviceBackendRequest& request) {
  if (void* const hook = ::dlsym(RTLD_DEFAULT, kDeviceBackendHook)) {
    return c10::intrusive_ptr<c10d::Backend>::reclaim(reinterpret_cast<DeviceBackendHook>(hook)(request));
  }
#ifdef USE_C10D_NCCL
  if (request.device.is_cuda()) {
    switch_nccl_recorder_off();
    auto options = c10d::ProcessGroupNCCL::Options::create();
    options->timeout = request.timeout;
    options->group_name = "minimind";
    return c10::make_intrusive<c10d::ProcessGroupNCCL>(request.store, request.rank, request.world_size, options);
  }
#endif
  throw Error(concat("rank ", request.rank, " of ", request.world_size, ": expected a build with NCCL for ",
                     request.device.str(),
                     ", found a build without CUDA; build with -DMINIMIND_CUDA=ON, or use "
                     "--device cpu"));
}

void close_device_backend(c10d::Backend& backend, bool has_failed) {
  try {
    if (has_failed) {
      backend.abort();  // waits for no other rank
    } else {
      backend.shutdown();  // without it NCCL's destructor aborts, and warns after every good run
    }
  } catch (const std::exception& error) {
    log_warning(concat("closing the connections of the GPUs: ", connection_failure_text(error)));
  }
}

}  // namespace minimind::detail
