#include "model/device.h"

#include <ATen/Context.h>
#include <ATen/DeviceAccelerator.h>

#include <charconv>
#include <optional>

#include "minimind/base/error.h"
#include "minimind/base/log.h"
#include "model/cuda_absence.h"
#include "model/gpu_support.h"

namespace minimind {

namespace {

constexpr std::string_view kCudaPrefix = "cuda:";

/// N of cuda:N; none if the name has another form.
std::optional<int64_t> cuda_index(std::string_view name) {
  if (!name.starts_with(kCudaPrefix)) {
    return std::nullopt;
  }
  int64_t index = -1;
  const auto [stop, error] = std::from_chars(name.data() + kCudaPrefix.size(), name.data() + name.size(), index);
  const bool fits = error == std::errc() && stop == name.data() + name.size() && index >= 0;
  return fits ? std::optional(index) : std::nullopt;
}

}  // namespace

bool is_device_name(std::string_view name) {
  return name == "auto" || name == "cpu" || name == "cuda" || cuda_index(name).has_value();
}

c10::Device choose_device(const DeviceChoice& choice) {
  const auto& [name, local_rank, local_ranks, gpus] = choice;
  require(is_device_name(name), "--device: expected auto, cpu, cuda or cuda:N, found '", name, "'");
  if (name == "cpu" || (name == "auto" && gpus == 0)) {
    return c10::kCPU;
  }
  const std::optional<int64_t> named = cuda_index(name);
  const int64_t index = named.value_or(gpus == 1 ? 0 : local_rank);
  require(!named || index < gpus, "--device: expected a CUDA device below ", gpus, ", found cuda:", index);
  require(!named || local_ranks == 1 || gpus == 1, "--device ", name, ": expected a GPU for each of the ", local_ranks,
          " processes of this host, found one for all; use --device cuda, which takes a GPU for each");
  require(index < gpus && (named || gpus == 1 || local_ranks <= gpus), "--device ", name,
          ": expected at most one process for each GPU, found ", local_ranks, " processes and ", gpus,
          " GPUs on this host; start ", gpus, " processes here, or use --device cpu");
  return {c10::kCUDA, static_cast<c10::DeviceIndex>(index)};
}

c10::Device device_of(const std::string& name, int64_t local_rank, int64_t local_ranks) {
  const bool has_cuda = at::hasCUDA();
  if (!has_cuda && is_device_name(name) && name != "cpu") {
    require(name == "auto", "--device ", name, ": expected a card that this build can use, ",
            cuda_absence(cuda_facts(0)), "; or use --device cpu");
    const std::string warning = unused_card_warning(cuda_facts(0));
    if (!warning.empty()) {
      log_warning(warning);
    }
  }
  const auto gpus = has_cuda ? static_cast<int64_t>(at::getNumGPUs()) : 0;
  const c10::Device device = choose_device({name, local_rank, local_ranks, gpus});
  const std::string refusal = gpu_support_of(device).refusal;
  require(refusal.empty(), "--device ", name, ": ", refusal);
  return device;
}

void use_device(const c10::Device& device) {
  choose_attention_kernels(device);
  if (!device.is_cpu()) {
    at::accelerator::setDeviceIndex(device.index());
  }
}

void allow_tf32(const c10::Device& device, bool allowed) {
  if (device.is_cuda()) {
    at::globalContext().setAllowTF32CuBLAS(allowed);
    at::globalContext().setAllowTF32CuDNN(allowed);
  }
}

void choose_attention_kernels(const c10::Device& device) {
  if (device.is_cuda()) {
    at::globalContext().setSDPUseCuDNN(false);
  }
}

}  // namespace minimind
