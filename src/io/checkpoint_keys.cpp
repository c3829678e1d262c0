#include "io/checkpoint_keys.h"

#include <string_view>

namespace minimind {

StateDict model_of_checkpoint(const StateDict& checkpoint) {
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
