#include "model/ops/gpu_kernel.h"

#ifdef MINIMIND_WITH_CUDA
#include <ATen/cuda/CUDAContext.h>
#include <c10/core/DeviceGuard.h>
#include <cuda.h>
#include <dlfcn.h>
#endif

#include <optional>
#include <string>

#include "minimind/base/error.h"
#include "minimind/base/log.h"
#include "model/ops/gpu_compiler.h"

namespace minimind {

#ifdef MINIMIND_WITH_CUDA

namespace {

/// What the driver offers. CUDA's runtime has loaded it already.
struct Driver {
  decltype(&cuCtxGetCurrent) current_context;
  decltype(&cuModuleLoadData) load_module;
  decltype(&cuModuleGetFunction) get_function;
  decltype(&cuLaunchKernel) launch;
  decltype(&cuGetErrorString) error_text;
};

std::optional<Driver> load_driver() {
  void* const library = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
  if (library == nullptr) {
    return std::nullopt;
  }
  Driver driver{};
  bool is_complete = true;
  const auto find = [&](const char* name, auto& function) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
    is_complete = is_complete && function != nullptr;
  };
  find("cuCtxGetCurrent", driver.current_context);
  find("cuModuleLoadData", driver.load_module);
  find("cuModuleGetFunction", driver.get_function);
  find("cuLaunchKernel", driver.launch);
  find("cuGetErrorString", driver.error_text);
  return is_complete ? std::optional(driver) : std::nullopt;
}

const std::optional<Driver>& driver() {
  static const std::optional<Driver> library = load_driver();
  return library;
}

/// A thread of autograd may have no context yet.
void require_context() {
  CUcontext context = nullptr;
  if (driver()->current_context(&context) != CUDA_SUCCESS || context == nullptr) {
    C10_CUDA_CHECK(cudaFree(nullptr));
  }
}

std::string text_of(CUresult code) {
  const char* text = nullptr;
  return driver()->error_text(code, &text) == CUDA_SUCCESS ? text : concat("error ", static_cast<int>(code));
}

}  // namespace

void* GpuKernel::function_for(const at::Tensor& like) {
  const std::lock_guard lock(mutex_);
  const auto [place, is_new] = functions_.try_emplace({like.device().index(), like.scalar_type()}, nullptr);
  if (!is_new) {
    return place->second;
  }
  if (!driver()) {
    return give_up("the driver (libcuda.so.1) lacks a function");
  }
  const cudaDeviceProp* const properties = at::cuda::getDeviceProperties(like.device().index());
  const GpuProgram program = compile_gpu_program(file_, like.scalar_type(), properties->major, properties->minor);
  if (!program.error.empty()) {
    return give_up(program.error);
  }
  require_context();
  CUmodule module = nullptr;
  CUfunction function = nullptr;
  CUresult code = driver()->load_module(&module, program.binary.data());
  if (code == CUDA_SUCCESS) {
    code = driver()->get_function(&function, module, name_);
  }
  if (code != CUDA_SUCCESS) {
    return give_up(concat("the driver could not load it (", text_of(code), ")"));
  }
  place->second = function;
  return function;
}

bool GpuKernel::launch_at(const at::Tensor& like, int64_t blocks, int64_t threads, void** arguments) {
  const c10::DeviceGuard guard(like.device());
  auto* const function = static_cast<CUfunction>(function_for(like));
  if (function == nullptr) {
    return false;
  }
  require_context();
  const cudaStream_t stream = at::cuda::getCurrentCUDAStream(like.device().index());
  const CUresult code = driver()->launch(function, static_cast<unsigned>(blocks), 1, 1, static_cast<unsigned>(threads),
                                         1, 1, /*sharedMemBytes=*/0, stream, arguments, /*extra=*/nullptr);
  if (code != CUDA_SUCCESS) {
    const std::lock_guard lock(mutex_);
    functions_[{like.device().index(), like.scalar_type()}] =
        give_up(concat("its launch failed (", text_of(code), ")"));
  }
  return code == CUDA_SUCCESS;
}

#else

bool GpuKernel::launch_at(const at::Tensor& /*like*/, int64_t /*blocks*/, int64_t /*threads*/, void** /*arguments*/) {
  return false;
}

#endif

void* GpuKernel::give_up(const std::string& reason) {
  if (!has_failed_) {
    has_failed_ = true;
    log_warning(concat("GPU kernel ", name_, ": ", reason, "; tensor operations take its place, which is slower"));
  }
  return nullptr;
}

}  // namespace minimind
