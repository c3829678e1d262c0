#include "train/train_state.h"

#include <ATen/ops/_amp_foreach_non_finite_check_and_unscale.h>
#include <ATen/ops/_amp_update_scale.h>
#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_sub.h>
#include <ATen/ops/_fused_adam.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "io/checkpoint_keys.h"
#include "minimind/base/error.h"
#include "minimind/base/log.h"
#include "minimind/model/weights.h"

namespace minimind {
namespace {

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
      groups[is_projection ? 1 : 0].emplace_back(name, item.value());
    }
  }
  return groups;
}

/// The tensors of a parameter's state by their keys.
std::vector<StateDict::Entry> moments_of(const Adam::Parameter& parameter) {
  return {{"adam.m." + parameter.name, parameter.m},
          {"adam.v." + parameter.name, parameter.v},
          {"adam.t." + parameter.name, parameter.t.view({1})}};
}

}  // namespace

double Schedule::at(int64_t t) const {
  const double lowest = learning_rate / 10;
  if (t < warmup) {
    return learning_rate * static_cast<double>(t) / static_cast<double>(warmup);
  }
  if (t >= total) {
    return lowest;
  }
  const double progress = static_cast<double>(t - warmup) / static_cast<double>(total - warmup);
  return lowest + 0.5 * (1.0 + std::cos(std::numbers::pi * progress)) * (learning_rate - lowest);
}

Adam::Adam(const std::vector<ParameterGroup>& groups, double beta2) : beta2_(beta2) {
  for (size_t group = 0; group < groups.size(); ++group) {
    for (const auto& [name, tensor] : groups[group]) {
      const at::Tensor plain = tensor.detach();
      parameters_.push_back({group, name, tensor, at::zeros_like(plain), at::zeros_like(plain),
                             at::zeros({}, plain.options().dtype(at::kFloat))});
    }
  }
}

void Adam::zero_grad() {
  for (Parameter& parameter : parameters_) {
    parameter.tensor.mutable_grad().reset();
  }
}

std::vector<at::Tensor> Adam::gradients() const {
  std::vector<at::Tensor> gradients;
  for (const Parameter& parameter : parameters_) {
    if (parameter.tensor.grad().defined()) {
      gradients.push_back(parameter.tensor.grad());
    }
  }
  return gradients;
}

void Adam::step(const std::vector<double>& rates, const std::optional<at::Tensor>& divisor,
                const std::optional<at::Tensor>& found_inf) {
  constexpr double kBeta1 = 0.9;
  constexpr double kEpsilon = 1e-8;
  const c10::NoGradGuard no_grad;
  for (size_t group = 0; group < rates.size(); ++group) {
    std::vector<at::Tensor> tensors, gradients, m, v, t;
    for (const Parameter& parameter : parameters_) {
      if (parameter.group == group && parameter.tensor.grad().defined()) {
        tensors.push_back(parameter.tensor);
        gradients.push_back(parameter.tensor.grad());
        m.push_back(parameter.m);
        v.push_back(parameter.v);
        t.push_back(parameter.t);
      }
    }
    if (tensors.empty()) {
      continue;
    }
    at::_foreach_add_(t, 1);
    at::_fused_adam_(tensors, gradients, m, v, {}, t, rates[group], kBeta1, beta2_, 0.0, kEpsilon, false, false,
                     divisor, found_inf);
    if (found_inf) {
      at::_foreach_sub_(t, std::vector<at::Tensor>(t.size(), *found_inf));
    }
  }
}

void Adam::save(StateDict& state) const {
  for (const Parameter& parameter : parameters_) {
    for (const auto& [key, tensor] : moments_of(parameter)) {
      state.add(key, tensor);
    }
  }
}

void Adam::load(const StateDict& state, const std::string& where) {
  const c10::NoGradGuard no_grad;
  for (const Parameter& parameter : parameters_) {
    for (const auto& [key, tensor] : moments_of(parameter)) {
      const at::Tensor* found = state.find(key);
      require(found != nullptr, where, ": expected the key ", key,
              ", which is missing; give --freeze and the model flags of this checkpoint");
      require(found->sizes() == tensor.sizes(), where, ": ", key, ": expected shape ", tensor.sizes(), ", found ",
              found->sizes());
      tensor.copy_(*found);
    }
  }
}

LossScaler::LossScaler(bool enabled, const c10::Device& device) {
  if (enabled) {
    scale_ = at::full({}, 65536.0, at::TensorOptions(device).dtype(at::kFloat));
    growth_tracker_ = at::zeros({}, at::TensorOptions(device).dtype(at::kInt));
  }
}

at::Tensor LossScaler::unscale(const std::vector<at::Tensor>& gradients) {
  const c10::NoGradGuard no_grad;
  at::Tensor found_inf = at::zeros({}, scale_.options());
  at::_amp_foreach_non_finite_check_and_unscale_(gradients, found_inf, scale_.reciprocal());
  return found_inf;
}

void LossScaler::update(const at::Tensor& found_inf) {
  constexpr double kGrowth = 2.0;
  constexpr double kBackoff = 0.5;
  constexpr int64_t kGrowthInterval = 2000;
  at::_amp_update_scale_(scale_, growth_tracker_, found_inf, kGrowth, kBackoff, kGrowthInterval);
}

void LossScaler::save(StateDict& state) const {
  if (enabled()) {
    state.add("scaler.scale", scale_.view({1}));
    state.add("scaler.growth_tracker", growth_tracker_.view({1}));
  }
}

void LossScaler::load(const StateDict& state) {
  const at::Tensor* scale = state.find("scaler.scale");
  const at::Tensor* tracker = state.find("scaler.growth_tracker");
  if (enabled() && scale != nullptr && tracker != nullptr) {
    scale_.copy_(scale->reshape({}));
    growth_tracker_.copy_(tracker->reshape({}));
  }
}

TrainState::TrainState(Vlm trained_model, const std::string& freeze, double adam_beta2, at::ScalarType dtype)
    : model(std::move(trained_model)),
      adam(trained_parameters(*model, freeze), adam_beta2),
      scaler(dtype == at::kHalf, model->head_weight().device()) {}

void TrainState::save(StateDict& state) const {
  for (const auto& item : model->named_parameters()) {
    state.add(kCheckpointModelPrefix + item.key(), item.value().detach());
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

void TrainState::resume(const Checkpoint& checkpoint, ProcessGroup& group, const Loader& loader) {
  if (group.is_main()) {
    load(checkpoint.state, checkpoint.path.string());
  }
  if (group.world_size() > 1) {
    StateDict state;
    save(state);
    std::vector<at::Tensor> tensors;
    for (auto& [name, tensor] : state.entries()) {
      tensor = tensor.cpu();
      tensors.push_back(tensor);
    }
    group.broadcast_(tensors);
    if (!group.is_main()) {
      load(state, "the checkpoint of rank 0");
    }
  }
  // With another number of processes the same micro-batches are another number of steps. If that number does not divide
  // them, the epoch has one step less than it counts.
  position = checkpoint.info.position;
  const bool is_epoch_over = position.micro_batch >= loader.micro_batches_per_epoch();
  position.micro_batch = std::min(position.micro_batch, loader.micro_batches_per_epoch());
  position.micro_step = position.epoch * loader.micro_steps_per_epoch() +
                        (is_epoch_over ? loader.micro_steps_per_epoch() : position.micro_batch / group.world_size());
}

}  // namespace minimind
