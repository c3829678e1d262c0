#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <string>
#include <vector>

#include "dist/process_group.h"
#include "minimind/data/batch.h"
#include "minimind/train/options.h"
#include "model/device_copy.h"
#include "train/feature_provider.h"
#include "train/train_state.h"

namespace minimind {

/// Whether the device has native bfloat16 matmuls; else bfloat16 is slower there than float32.
bool has_native_bfloat16(const c10::Device& device);

/// The dtype of the matmuls for `--dtype`. `auto`: bfloat16 on CUDA (on Turing float16), float32 on a CPU. Throws Error
/// for float16 on a CPU, where training overflows without loss scaling. Warns if a GPU has no native bfloat16.
at::ScalarType training_dtype(const std::string& flag, const c10::Device& device);

/// The size of a step: of one rank, or of all ranks after ProcessGroup::sum(counts.numbers()).
struct StepCounts {
  int64_t samples = 0;
  int64_t tokens = 0;             ///< without padding
  int64_t supervised_tokens = 0;  ///< tokens with a loss
  int64_t images = 0;

  std::vector<int64_t*> numbers() { return {&samples, &tokens, &supervised_tokens, &images}; }
};

/// The counts of this rank.
StepCounts count_batches(const std::vector<Batch>& batches);

/// What a step uses beside the state. The references outlive it.
struct StepContext {
  StepContext(const TrainOptions& options, at::ScalarType matmul_dtype, const TrainState& state,
              FeatureProvider& feature_provider, ProcessGroup& group);

  FeatureProvider& features;
  c10::Device device;
  SideCopies copies;
  GradientReducer reducer;
  at::ScalarType dtype;
  double grad_clip;     ///< 0: no clipping
  double moe_aux_loss;  ///< weight of the experts' load-balancing loss
};

/// The outcome of a step on this rank. The tensors stay on the device, so that nothing waits for it.
struct StepResult {
  at::Tensor loss_sum;     ///< float32 scalar: cross-entropies of this rank's supervised tokens; undefined without any
  at::Tensor expert_loss;  ///< float32 scalar: this rank's part of the experts' loss; undefined without experts
  at::Tensor expert_load;  ///< int64 [layers, E]: choices of each expert by this rank; undefined without experts
  at::Tensor grad_norm;    ///< float32 scalar before clipping; the same on all ranks
  /// Whether the weights were updated. On CUDA always true: the device skips a non-finite update by itself.
  bool is_updated = false;
};

/// Seeds dropout from seed, micro-step and rank, so that a resumed run draws the same numbers.
void seed_dropout(const LmConfig& config, int64_t seed, int64_t micro_step, int64_t rank);

/// One optimiser step over the micro-batches of all ranks. The gradient is the gradient of the mean cross-entropy over
/// all their supervised tokens: k micro-batches on n ranks equal one batch of k * n times the size. Skips the update if
/// the loss or the gradient is not finite. `counts`: of all ranks; without supervised tokens nothing happens.
/// `learning_rates`: one for each parameter group.
StepResult train_step(TrainState& state, StepContext& context, const std::vector<Batch>& batches,
                      const StepCounts& counts, const std::vector<double>& learning_rates);

}  // namespace minimind
