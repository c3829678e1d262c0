#include "train/train_step.h"

#include <ATen/Context.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/cumsum.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "io/dtype_names.h"
#include "minimind/base/error.h"
#include "minimind/base/log.h"
#include "minimind/base/random.h"
#include "minimind/model/language_model.h"
#include "model/bfloat16_products.h"
#include "model/gpu_support.h"
#include "train/autocast.h"

namespace minimind {
namespace {

/// bool [B, S]: false on the padding after the last token that is not 0.
at::Tensor real_positions(const at::Tensor& ids) {
  return ids.ne(0).flip(1).cumsum(1).flip(1).gt(0);
}

void add_to(at::Tensor& total, const at::Tensor& value) {
  total = total.defined() ? total + value : value;
}

/// The projection runs before the first layer of the language model.
std::vector<at::Tensor> parameters_in_forward_order(const Adam& adam) {
  std::vector<at::Tensor> parameters;
  for (const size_t group : {1U, 0U}) {
    for (const Adam::Parameter& parameter : adam.parameters()) {
      if (parameter.group == group) {
        parameters.push_back(parameter.tensor);
      }
    }
  }
  return parameters;
}

struct DeviceBatch {
  at::Tensor ids;      ///< [B, S]
  at::Tensor rows;     ///< supervised_rows()
  at::Tensor targets;  ///< of the rows
  at::Tensor valid;    ///< bool [B, S]: false on padding; undefined unless it is needed
  at::Tensor images;   ///< FeatureProvider::input_of()
};

DeviceBatch copy_batch(const Batch& batch, bool needs_valid, const StepContext& context) {
  // The mask is on the CPU, so the search for rows runs there: on CUDA it would wait for the device.
  const at::Tensor rows = supervised_rows(batch.mask);
  const std::vector<at::Tensor> copies =
      context.copies.copy({batch.ids, rows, batch.targets.reshape({-1}).index_select(0, rows),
                           needs_valid ? real_positions(batch.ids) : at::Tensor(), context.features.input_of(batch)});
  return {copies[0], copies[1], copies[2], copies[3], copies[4]};
}

/// The scalar whose gradient a micro-batch adds to the step.
at::Tensor objective(TrainState& state, StepContext& context, const Batch& batch, const StepCounts& counts,
                     StepResult& result) {
  const DeviceBatch on_device = copy_batch(batch, state.model->config().use_moe, context);
  VlmInput input;
  input.ids = on_device.ids;
  input.features = context.features.features(batch, on_device.images);
  input.spans = batch.spans;
  input.valid = on_device.valid;
  const AutocastScope autocast(context.device.type(), context.dtype);
  const at::Tensor hidden = state.model->hidden_rows(input, on_device.rows);
  const MaskedLoss loss = cross_entropy_of_rows(hidden, state.model->head_weight(), on_device.targets);
  add_to(result.loss_sum, loss.sum.detach());
  at::Tensor total = loss.sum / static_cast<double>(counts.supervised_tokens);
  const at::Tensor auxiliary = state.model->auxiliary_loss();
  if (auxiliary.defined() && context.moe_aux_loss > 0) {
    const double share = static_cast<double>(batch.ids.size(0)) / static_cast<double>(counts.samples);
    const at::Tensor expert_loss = auxiliary * share;
    total = total + expert_loss * context.moe_aux_loss;
    add_to(result.expert_loss, expert_loss.detach());
  }
  if (const at::Tensor load = state.model->expert_load(); load.defined()) {
    add_to(result.expert_load, load);
  }
  return state.scaler.enabled() ? total * state.scaler.scale() : total;
}

/// The projection learns if any rank has an image. All other parameters always learn: an expert without a token has the
/// gradient 0 on any number of ranks.
void fill_missing_gradients(const Adam& adam, bool has_images) {
  for (const auto& [group, name, tensor, m, v, t] : adam.parameters()) {
    if (!has_images && name.starts_with("vision_proj.")) {
      tensor.mutable_grad().reset();
    } else if (!tensor.grad().defined()) {
      tensor.mutable_grad() = at::zeros_like(tensor.detach());
    }
  }
}

void update(TrainState& state, double grad_clip, const std::vector<double>& learning_rates, StepResult& result) {
  const c10::NoGradGuard no_grad;
  const std::vector<at::Tensor> gradients = state.adam.gradients();
  if (gradients.empty()) {
    return;
  }
  at::Tensor found_inf;
  if (state.scaler.enabled()) {
    found_inf = state.scaler.unscale(gradients);
  }
  result.grad_norm = at::stack(at::_foreach_norm(gradients, 2)).norm();
  const at::Tensor divisor = (result.grad_norm + 1e-6) / grad_clip;
  if (result.grad_norm.is_cpu()) {
    const double norm = result.grad_norm.item<double>();
    const bool clips = grad_clip > 0 && norm + 1e-6 > grad_clip;
    result.is_updated = std::isfinite(norm);
    if (result.is_updated) {
      state.adam.step(learning_rates, clips ? std::optional(divisor) : std::nullopt);
    }
    return;
  }
  const at::Tensor is_bad = result.grad_norm.isfinite().logical_not().to(at::kFloat);
  found_inf = found_inf.defined() ? found_inf.maximum(is_bad) : is_bad;
  state.adam.step(learning_rates, grad_clip > 0 ? std::optional(divisor.clamp_min(1.0)) : std::nullopt, found_inf);
  if (state.scaler.enabled()) {
    state.scaler.update(found_inf);
  }
  result.is_updated = true;
}

}  // namespace

bool has_native_bfloat16(const c10::Device& device) {
  if (!device.is_cpu()) {
    return gpu_support_of(device).has_bfloat16;
  }
  return processor_has_bfloat16();
}

at::ScalarType training_dtype(const std::string& flag, const c10::Device& device) {
  if (flag == "auto") {
    return device.is_cuda() ? gpu_support_of(device).auto_dtype : at::kFloat;
  }
  const at::ScalarType dtype = dtype_of_flag(flag, "--dtype");
  require(dtype != at::kHalf || device.is_cuda(), "--dtype float16: expected a CUDA device, found ", device.str(),
          "; use --dtype ",
          has_native_bfloat16(device) ? "bfloat16 or float32"
                                      : "float32 (this processor emulates bfloat16, which is slower)");
  if (dtype == at::kBFloat16 && device.is_cuda() && !has_native_bfloat16(device)) {
    log_warning("--dtype bfloat16: this GPU emulates bfloat16; --dtype float16 is faster");
  }
  return dtype;
}

StepCounts count_batches(const std::vector<Batch>& batches) {
  StepCounts counts;
  for (const Batch& batch : batches) {
    if (batch.ids.defined()) {
      counts.samples += batch.ids.size(0);
      counts.tokens += batch.tokens;
      counts.supervised_tokens += batch.supervised_tokens;
      counts.images += batch.images();
    }
  }
  return counts;
}

StepContext::StepContext(const TrainOptions& options, at::ScalarType matmul_dtype, const TrainState& state,
                         FeatureProvider& feature_provider, ProcessGroup& group)
    : features(feature_provider),
      device(state.model->head_weight().device()),
      copies(device),
      reducer(group, parameters_in_forward_order(state.adam), options.bucket_mb * 1'000'000),
      dtype(matmul_dtype),
      grad_clip(options.grad_clip),
      moe_aux_loss(options.moe_aux_loss) {}

void seed_dropout(const LmConfig& config, int64_t seed, int64_t micro_step, int64_t rank) {
  if (config.dropout > 0) {
    Random random(static_cast<uint64_t>(seed), static_cast<uint64_t>(micro_step));
    uint64_t rank_seed = random.next();
    for (int64_t before = 0; before < rank; ++before) {
      rank_seed = random.next();
    }
    at::manual_seed(rank_seed);
  }
}

StepResult train_step(TrainState& state, StepContext& context, const std::vector<Batch>& batches,
                      const StepCounts& counts, const std::vector<double>& learning_rates) {
  StepResult result;
  if (counts.supervised_tokens == 0) {
    return result;
  }
  state.adam.zero_grad();
  const Batch* last = nullptr;
  for (const Batch& batch : batches) {
    if (batch.ids.defined()) {
      if (last != nullptr) {
        context.reducer.accumulate(objective(state, context, *last, counts, result));
      }
      last = &batch;
    }
  }
  context.reducer.accumulate_and_sum(last != nullptr ? objective(state, context, *last, counts, result) : at::Tensor());
  fill_missing_gradients(state.adam, counts.images > 0);
  update(state, context.grad_clip, learning_rates, result);
  return result;
}

}  // namespace minimind
