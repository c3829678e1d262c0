#include "train/train_state.h"

#include <utility>

#include "io/checkpoint_keys.h"
#include "minimind/base/error.h"
#include "minimind/base/log.h"
#include "minimind/model/weights.h"

namespace minimind {
TrainState::TrainState(Vlm trained_model, const std::string& freeze, double adam_beta2, at::ScalarType dtype)
    : model(std::move(trained_model)),
      adam(trained_parameters(*model, freeze), adam_beta2),
      scaler(dtype == at::kHalf, model->head_weight().device()) {}

void TrainState::save(StateDict& state) const {
  for (const auto& item : model->named_parameters()) {
    state.add(kCheckpointModelPrefix + item.key(), item.value().detach().cpu());
  }
  adam.save(state);
  scaler.save(state);
}

void TrainState::load(const StateDict& state, const std::string& where) {
  LoadOptions strict;
  strict.allow_missing_projection = false;
  log_info(load_vlm(*model, model_of_checkpoint(state), where, strict).summary());
  adam.load(state, where);
  scaler.load(state);
}

void TrainState::broadcast(ProcessGroup& group) {
  if (group.world_size() == 1) {
    return;
  }
  StateDict state;
  save(state);
  std::vector<at::Tensor> tensors;
  for (const auto& [name, tensor] : state.entries()) {
    tensors.push_back(tensor);
  }
  group.broadcast_(tensors);
  if (!group.is_main()) {
    load(state, "the checkpoint of rank 0");
  }
}

std::vector<ParameterGroup> trained_parameters(VlmImpl& model, const std::string& freeze) {
  const std::string last_layer = concat("layers.", model.config().n_layers - 1, ".");
  std::vector<ParameterGroup> groups(2);
  for (auto& item : model.named_parameters()) {
    const std::string& name = item.key();
    const bool is_projection = name.starts_with("vision_proj.");
    const bool is_middle =
        name.starts_with("layers.") && !name.starts_with("layers.0.") && !name.starts_with(last_layer);
    const bool is_frozen = (freeze == "language_model" && !is_projection) || (freeze == "middle_layers" && is_middle);
    item.value().set_requires_grad(!is_frozen);
    if (!is_frozen) {
      groups[is_projection ? 1 : 0].parameters.emplace_back(name, item.value());
    }
  }
  return groups;
}

}  // namespace minimind
