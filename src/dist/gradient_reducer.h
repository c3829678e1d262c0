#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "dist/process_group.h"

namespace minimind {

/// Backward passes whose gradients are summed over the ranks. Buckets of gradients are reduced while the pass still
/// runs (c10d::Reducer). With one process it runs plain backward passes.
class GradientReducer {
 public:
  /// `parameters`: the trained parameters in the order of the forward pass, the same on all ranks. `bucket_bytes`: size
  /// of a bucket. The group outlives the reducer.
  GradientReducer(ProcessGroup& group, std::vector<at::Tensor> parameters, int64_t bucket_bytes);
  ~GradientReducer();
  GradientReducer(const GradientReducer&) = delete;
  GradientReducer& operator=(const GradientReducer&) = delete;

  /// The backward pass of a scalar which is not the last one of the step. Gradients add up on this rank alone.
  void accumulate(const at::Tensor& objective);
  /// The last backward pass of the step; every rank calls it once. Afterwards each gradient is the sum over all ranks
  /// and passes of the step. `objective` is undefined on a rank without data. If some rank used a parameter, all ranks
  /// have its gradient. If no rank used it, its gradient stays as it was; a rank without data counts as a user of the
  /// last parameter, with gradient 0. Throws LostRank.
  void accumulate_and_sum(const at::Tensor& objective);

  /// Buckets reduced so far, over all steps; for tests.
  int64_t launched() const;

 private:
  struct State;
  ProcessGroup& group_;
  std::vector<at::Tensor> parameters_;
  std::unique_ptr<State> state_;
};

}  // namespace minimind
