#include "model/cuda_absence.h"

#include <ATen/Context.h>
#include <dlfcn.h>

#include <cstdlib>

#include "minimind/base/error.h"

namespace minimind {

namespace {

/// 12.4 of 12040.
std::string version_text(int64_t version) {
  return concat(version / 1000, ".", version % 1000 / 10);
}

/// A driver serves all minor versions of its major version of CUDA.
bool is_too_old(const CudaFacts& facts) {
  return facts.driver_version > 0 && facts.driver_version / 1000 < facts.runtime_version / 1000;
}

/// The newest CUDA that the driver serves; 0 if it does not say.
int64_t driver_version_of(void* library) {
  using GetVersion = int (*)(int*);
  const auto get_version = reinterpret_cast<GetVersion>(dlsym(library, "cuDriverGetVersion"));
  int version = 0;
  return get_version != nullptr && get_version(&version) == 0 ? version : 0;
}

}  // namespace

CudaFacts cuda_facts(int64_t card_count) {
  CudaFacts facts;
  facts.card_count = card_count;
#ifdef MINIMIND_WITH_CUDA
  facts.built_with_cuda = true;
  facts.runtime_version = at::globalContext().versionCUDART();
#endif
  // The library stays loaded: LibTorch may use it, and unloading a driver is not safe.
  if (void* library = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL)) {
    facts.driver_found = true;
    facts.driver_version = driver_version_of(library);
  }
  if (const char* visible = std::getenv("CUDA_VISIBLE_DEVICES")) {
    facts.visible_devices = visible;
  }
  return facts;
}

std::string cuda_absence(const CudaFacts& facts) {
  if (facts.card_count > 0) {
    return "";
  }
  if (!facts.built_with_cuda) {
    return "found a build without CUDA; build with MINIMIND_CUDA=ON";
  }
  if (!facts.driver_found) {
    return "found no NVIDIA driver (libcuda.so.1); install the driver, or start a container with --gpus all";
  }
  if (is_too_old(facts)) {
    return concat("found a driver for CUDA ", version_text(facts.driver_version), ", and LibTorch needs CUDA ",
                  version_text(facts.runtime_version),
                  "; update the driver, or set MINIMIND_TORCH_INDEX and build again (README, NVIDIA drivers)");
  }
  if (facts.visible_devices) {
    return concat("found no card that CUDA_VISIBLE_DEVICES='", *facts.visible_devices,
                  "' shows; unset it or name a card of nvidia-smi -L");
  }
  return "found a driver, but no card that it can use; see nvidia-smi -L, and dmesg for the driver's messages";
}

std::string unused_card_warning(const CudaFacts& facts) {
  const bool is_hidden = facts.visible_devices.has_value() && facts.built_with_cuda && !is_too_old(facts);
  if (facts.card_count > 0 || !facts.driver_found || is_hidden) {
    return "";
  }
  return concat("--device auto: this run uses the CPU. Expected a card beside the NVIDIA driver, ", cuda_absence(facts),
                "; --device cpu silences this");
}

}  // namespace minimind
