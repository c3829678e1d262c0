#pragma once

#include <string_view>

#include "minimind/io/state_dict.h"

namespace minimind {

/// Safetensors metadata key of a training checkpoint: a JSON object whose `config` is the model's configuration as
/// text.
inline constexpr const char* kCheckpointMetadataKey = "minimind_checkpoint";

/// Prefix of the model's tensors in a training checkpoint; the other tensors are the optimiser's and the scaler's.
inline constexpr const char* kCheckpointModelPrefix = "model.";

/// The model's tensors of a training checkpoint, without the prefix.
inline StateDict model_of_checkpoint(const StateDict& checkpoint) {
  constexpr std::string_view kPrefix = kCheckpointModelPrefix;
  StateDict model;
  for (const auto& [name, tensor] : checkpoint.entries()) {
    if (name.starts_with(kPrefix)) {
      model.add(name.substr(kPrefix.size()), tensor);
    }
  }
  return model;
}

}  // namespace minimind
