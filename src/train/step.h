#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "dist/gradient_reducer.h"
#include "dist/process_group.h"
#include "minimind/data/batch.h"
#include "minimind/model/vlm.h"
#include "train/adam.h"
#include "train/features.h"
#include "train/precision.h"

namespace minimind {

struct StepSettings {
  double grad_clip = 1.0;     ///< 0: no limit
  double moe_aux_loss = 1.0;  ///< factor of the experts' auxiliary loss
  int64_t bucket_bytes = 25'000'000;
};

/// What happened in one step. Sums are over all ranks where that is said, else this rank's.
struct StepOutcome {
  int64_t tokens = 0;      ///< supervised, all ranks; 0: there was nothing to learn, and nothing changed
  int64_t rows = 0;        ///< samples, all ranks
  int64_t words = 0;       ///< real tokens, all ranks
  int64_t images = 0;      ///< all ranks
  int stop_signal = 0;     ///< that some rank has received, the same on all: they stop after this step; 0: none
  at::Tensor loss_sum;     ///< float32 scalar: cross-entropies of this rank's supervised tokens; undefined without any
  at::Tensor auxiliary;    ///< float32 scalar: this rank's part of the experts' loss; undefined without experts
  at::Tensor expert_load;  ///< int64 [layers, experts]: how often this rank's tokens chose each; undefined without any
  at::Tensor grad_norm;    ///< float32 scalar before clipping; the same on all ranks
  /// Whether the update was made. Known on the CPU only; on CUDA the device skips a bad update by itself.
  bool updated = false;
};

/// One optimiser step over micro-batches of all ranks: the gradient is that of the mean cross-entropy over all their
/// supervised tokens, so that k micro-batches on n ranks equal one batch of k·n times the size. An update whose loss or
/// gradient is not finite is left out.
class StepRunner {
 public:
  StepRunner(Vlm model, FeatureProvider& features, Adam& adam, LossScaler& scaler, ProcessGroup& group,
             at::ScalarType dtype, const StepSettings& settings);
  /// `batches`: this rank's; those without rows count as nothing. rates: one learning rate for each parameter group.
  /// `stop_signal`: SIGINT or SIGTERM where this rank has received it, else 0.
  StepOutcome run(const std::vector<Batch>& batches, const std::vector<double>& rates, int stop_signal);

 private:
  at::Tensor objective(const Batch& batch, StepOutcome& outcome);
  void add_gradients(const std::vector<Batch>& batches, StepOutcome& outcome);
  void settle_gradients(const StepOutcome& outcome);
  void update(const std::vector<double>& rates, StepOutcome& outcome);

  Vlm model_;
  FeatureProvider& features_;
  Adam& adam_;
  LossScaler& scaler_;
  ProcessGroup& group_;
  at::ScalarType dtype_;
  StepSettings settings_;
  GradientReducer reducer_;
  c10::Device device_;
};

}  // namespace minimind
