#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace minimind {

/// What a process knows about CUDA when LibTorch counts no card. Versions are CUDA's numbers: 1000 * major + 10 *
/// minor.
struct CudaFacts {
  bool built_with_cuda = false;
  bool driver_found = false;                   ///< libcuda.so.1, which the NVIDIA driver installs, can be loaded
  int64_t driver_version = 0;                  ///< the newest CUDA that the driver serves; 0: unknown
  int64_t runtime_version = 0;                 ///< the CUDA that LibTorch was built with; 0: unknown
  int64_t card_count = 0;                      ///< cards that LibTorch can use
  std::optional<std::string> visible_devices;  ///< CUDA_VISIBLE_DEVICES, if it is set
};

/// The facts of this process. `card_count` is the caller's, from at::getNumGPUs().
CudaFacts cuda_facts(int64_t card_count);

/// Why no card can be used, and the cure: "found X; do Y". The causes, in this order: built without CUDA, no driver,
/// driver too old, cards hidden by CUDA_VISIBLE_DEVICES, no card. Empty if there are cards.
std::string cuda_absence(const CudaFacts& facts);

/// The same, as the warning of `--device auto`. Empty where a CPU is no surprise: there are cards, there is no driver,
/// or CUDA_VISIBLE_DEVICES hides the cards.
std::string unused_card_warning(const CudaFacts& facts);

}  // namespace minimind
