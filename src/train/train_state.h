#pragma once

#include <c10/core/ScalarType.h>

#include <string>
#include <vector>

#include "dist/process_group.h"
#include "minimind/io/state_dict.h"
#include "minimind/model/vlm.h"
#include "train/adam.h"
#include "train/checkpoint.h"
#include "train/precision.h"

namespace minimind {

/// Everything that training changes. A checkpoint holds it; all else follows from the options and the files.
struct TrainState {
  /// Fixes the parameters that `freeze` names, as in --freeze. `dtype`: of the matmuls; float16 turns loss scaling on.
  TrainState(Vlm trained_model, const std::string& freeze, double adam_beta2, at::ScalarType dtype);

  /// Adds `model.NAME`, `adam.*` and `scaler.*`. The caller writes the position.
  void save(StateDict& state) const;
  /// Restores what save() added. Throws Error with `where` and the key if a tensor is missing or of another shape.
  void load(const StateDict& state, const std::string& where);
  /// Copies the state of rank 0 to all ranks.
  void broadcast(ProcessGroup& group);

  Vlm model;
  Adam adam;
  LossScaler scaler;
  TrainingPosition position;
};

/// Fixes the parameters that `freeze` names, as in --freeze. Returns the trained parameters: group 0 the language
/// model, group 1 the projection.
std::vector<ParameterGroup> trained_parameters(VlmImpl& model, const std::string& freeze);

}  // namespace minimind
