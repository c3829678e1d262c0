#include "train/step.h"

#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/cumsum.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>

#include <cmath>
#include <csignal>
#include <utility>

#include "model/loss.h"

namespace minimind {
namespace {

/// Padding stands behind the last token that is not 0. bool [B, S].
at::Tensor real_positions(const at::Tensor& ids) {
  return ids.ne(0).flip(1).cumsum(1).flip(1).gt(0);
}

at::Tensor total_norm(const std::vector<at::Tensor>& gradients) {
  return at::stack(at::_foreach_norm(gradients, 2)).norm();
}

/// The projection stands before the first layer.
std::vector<at::Tensor> in_order_of_use(const Adam& adam) {
  std::vector<at::Tensor> parameters;
  for (auto group = adam.groups().rbegin(); group != adam.groups().rend(); ++group) {
    for (const auto& [name, parameter] : group->parameters) {
      parameters.push_back(parameter);
    }
  }
  return parameters;
}

}  // namespace

StepRunner::StepRunner(Vlm model, FeatureProvider& features, Adam& adam, LossScaler& scaler, ProcessGroup& group,
                       at::ScalarType dtype, const StepSettings& settings)
    : model_(std::move(model)),
      features_(features),
      adam_(adam),
      scaler_(scaler),
      group_(group),
      dtype_(dtype),
      settings_(settings),
      reducer_(group, in_order_of_use(adam), settings.bucket_bytes),
      device_(model_->head_weight().device()) {}

at::Tensor StepRunner::objective(const Batch& batch, StepOutcome& outcome) {
  VlmInput input;
  input.ids = batch.ids.to(device_, /*non_blocking=*/true);
  input.features = features_.features(batch);
  input.spans = batch.spans;
  if (model_->config().use_moe) {
    input.valid = real_positions(batch.ids).to(device_, /*non_blocking=*/true);
  }
  const AutocastScope autocast(device_.type(), dtype_);
  // The rows are found on the CPU, where the mask is: on CUDA the search would wait for the device.
  const at::Tensor rows = supervised_rows(batch.mask);
  const at::Tensor targets = batch.targets.reshape({-1}).index_select(0, rows).to(device_, /*non_blocking=*/true);
  const at::Tensor hidden = model_->hidden_rows(input, rows.to(device_, /*non_blocking=*/true));
  const MaskedLoss loss = cross_entropy_of_rows(hidden, model_->head_weight(), targets);
  at::Tensor goal = loss.sum / static_cast<double>(outcome.tokens);
  const at::Tensor auxiliary = model_->auxiliary_loss();
  if (auxiliary.defined() && settings_.moe_aux_loss > 0) {
    const at::Tensor share = auxiliary * (static_cast<double>(batch.ids.size(0)) / static_cast<double>(outcome.rows));
    goal = goal + share * settings_.moe_aux_loss;
    outcome.auxiliary = outcome.auxiliary.defined() ? outcome.auxiliary + share.detach() : share.detach();
  }
  if (const at::Tensor load = model_->expert_load(); load.defined()) {
    outcome.expert_load = outcome.expert_load.defined() ? outcome.expert_load + load : load;
  }
  const at::Tensor sum = loss.sum.detach();
  outcome.loss_sum = outcome.loss_sum.defined() ? outcome.loss_sum + sum : sum;
  return scaler_.enabled() ? goal * scaler_.scale() : goal;
}

void StepRunner::add_gradients(const std::vector<Batch>& batches, StepOutcome& outcome) {
  const Batch* last = nullptr;
  for (const Batch& batch : batches) {
    if (!batch.ids.defined()) {
      continue;
    }
    if (last != nullptr) {
      reducer_.accumulate(objective(*last, outcome));
    }
    last = &batch;
  }
  reducer_.accumulate_and_sum(last != nullptr ? objective(*last, outcome) : at::Tensor());
}

/// The projection learns where any rank had an image, everything else always: an expert that got no token has the
/// gradient 0, for however many ranks.
void StepRunner::settle_gradients(const StepOutcome& outcome) {
  for (const ParameterGroup& group : adam_.groups()) {
    for (const auto& [name, parameter] : group.parameters) {
      if (outcome.images == 0 && name.starts_with("vision_proj.")) {
        parameter.mutable_grad().reset();
      } else if (!parameter.grad().defined()) {
        parameter.mutable_grad() = at::zeros_like(parameter.detach());
      }
    }
  }
}

void StepRunner::update(const std::vector<double>& rates, StepOutcome& outcome) {
  const c10::NoGradGuard no_grad;
  const std::vector<at::Tensor> gradients = adam_.gradients();
  if (gradients.empty()) {
    return;
  }
  at::Tensor found_inf;
  if (scaler_.enabled()) {
    found_inf = scaler_.unscale(gradients);
  }
  outcome.grad_norm = total_norm(gradients);
  if (device_.is_cpu()) {
    const double norm = outcome.grad_norm.item<double>();
    outcome.updated = std::isfinite(norm);
    if (outcome.updated) {
      const bool clips = settings_.grad_clip > 0 && norm + 1e-6 > settings_.grad_clip;
      adam_.step(rates,
                 clips ? std::optional<at::Tensor>((outcome.grad_norm + 1e-6) / settings_.grad_clip) : std::nullopt);
    }
    return;
  }
  const at::Tensor bad = outcome.grad_norm.isfinite().logical_not().to(at::kFloat);
  found_inf = found_inf.defined() ? found_inf.maximum(bad) : bad;
  std::optional<at::Tensor> divisor;
  if (settings_.grad_clip > 0) {
    divisor = ((outcome.grad_norm + 1e-6) / settings_.grad_clip).clamp_min(1.0);
  }
  adam_.step(rates, divisor, found_inf);
  if (scaler_.enabled()) {
    scaler_.update(found_inf);
  }
  outcome.updated = true;
}

StepOutcome StepRunner::run(const std::vector<Batch>& batches, const std::vector<double>& rates, int stop_signal) {
  std::vector<int64_t> totals = {0, 0, 0, 0, stop_signal == SIGINT ? 1 : 0, stop_signal == SIGTERM ? 1 : 0};
  for (const Batch& batch : batches) {
    if (batch.ids.defined()) {
      totals[0] += batch.supervised_tokens;
      totals[1] += batch.ids.size(0);
      totals[2] += batch.tokens;
      totals[3] += static_cast<int64_t>(batch.spans.size());
    }
  }
  totals = group_.sum(totals);
  StepOutcome outcome;
  outcome.tokens = totals[0];
  outcome.rows = totals[1];
  outcome.words = totals[2];
  outcome.images = totals[3];
  outcome.stop_signal = totals[5] > 0 ? SIGTERM : totals[4] > 0 ? SIGINT : 0;
  if (outcome.tokens == 0) {
    return outcome;
  }
  adam_.zero_grad();
  add_gradients(batches, outcome);
  settle_gradients(outcome);
  update(rates, outcome);
  return outcome;
}

}  // namespace minimind
