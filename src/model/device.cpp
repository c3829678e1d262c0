#include "model/device.h"

#include <ATen/Context.h>

#include <charconv>
#include <optional>

#include "minimind/base/error.h"
#include "minimind/base/log.h"
#include "model/cuda_absence.h"

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

c10::Device device_of(const std::string& name, int64_t default_index) {
  require(is_device_name(name), "--device: expected auto, cpu, cuda or cuda:N, found '", name, "'");
  const bool has_cuda = at::hasCUDA();
  if (name == "auto" && !has_cuda) {
    const std::string warning = unused_card_warning(cuda_facts(0));
    if (!warning.empty()) {
      log_warning(warning);
    }
  }
  if (name == "cpu" || (name == "auto" && !has_cuda)) {
    return c10::kCPU;
  }
  require(has_cuda, "--device ", name, ": expected a card that this build can use, ",
          has_cuda ? "" : cuda_absence(cuda_facts(0)), "; or use --device cpu");
  const auto count = static_cast<int64_t>(at::getNumGPUs());
  const int64_t index = cuda_index(name).value_or(default_index);
  require(index < count, "--device: expected a CUDA device below ", count, ", found cuda:", index);
  return {c10::kCUDA, static_cast<c10::DeviceIndex>(index)};
}

}  // namespace minimind
