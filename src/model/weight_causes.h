#pragma once

#include <string>
#include <vector>

#include "minimind/io/state_dict.h"
#include "minimind/model/config.h"

namespace minimind {

/// Sets the shape that the tensors of a state dict (with plain keys) show. The head counts follow from `config`'s.
/// Returns false if the tensors are not a MiniMind model's.
bool deduce_shape(const std::vector<StateDict::Entry>& entries, LmConfig* config);

/// The flags that would make a model of the shape of `file`; "" if `config` has this shape.
std::string shape_flags(const LmConfig& config, const LmConfig& file);

/// Why a state dict does not fit a model of this configuration: a sentence with the cure, or "".
std::string likely_cause(const std::vector<StateDict::Entry>& entries, const LmConfig& config, bool wants_projection);

}  // namespace minimind
