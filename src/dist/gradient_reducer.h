#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "dist/process_group.h"

namespace minimind {

/// Backward passes whose gradients are summed over the ranks, bucket by bucket, while the pass is still under way
/// (c10d::Reducer). With one process they are plain backward passes.
class GradientReducer {
 public:
  /// `parameters`: those that are trained, in the order in which the forward pass uses them, the same on all ranks.
  /// Buckets hold about `bucket_bytes`. The group outlives the reducer.
  GradientReducer(ProcessGroup& group, std::vector<at::Tensor> parameters, int64_t bucket_bytes);
  ~GradientReducer();
  GradientReducer(const GradientReducer&) = delete;
  GradientReducer& operator=(const GradientReducer&) = delete;

  /// The backward pass of a scalar that another one follows in this step: gradients add up on this rank alone.
  void accumulate(const at::Tensor& objective);
  /// The step's last one, on every rank exactly once: afterwards each gradient is the sum over all ranks and passes of
  /// the step. `objective` is undefined on a rank without data. A parameter that some rank used has a gradient
  /// on all; one that no rank used keeps what it had (undefined, as a rule), except that a rank without data counts as
  /// a user of the last one, with gradient 0. Throws Error where another rank is gone.
  void accumulate_and_sum(const at::Tensor& objective);

  /// Buckets handed over to the other ranks so far, over all steps.
  int64_t launched() const;

 private:
  struct State;
  ProcessGroup& group_;
  std::vector<at::Tensor> parameters_;
  std::unique_ptr<State> state_;
};

}  // namespace minimind
