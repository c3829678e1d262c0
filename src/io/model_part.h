#pragma once

#include "io/pickle_program.h"

namespace minimind {

/// The dict of the model's tensors: the result itself, or the part of a training program's file that holds it, beside
/// the optimiser's state and the like.
const PickleNode& model_part(const PickleNode& result);

}  // namespace minimind
