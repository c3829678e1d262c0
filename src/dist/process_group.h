#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "dist/rank_info.h"

namespace minimind {

namespace detail {
struct Connections;
}

/// The processes of a training run: collectives over Gloo on a CPU and NCCL on CUDA. With one process every call
/// returns at once. All ranks call the collectives in the same order. They throw LostRank if another rank is gone. If
/// the host of a rank is cut off, its connections stay silent: then the other processes end within 30 s.
class ProcessGroup {
 public:
  /// Waits up to 5 minutes for all ranks; throws Error with the missing rank. `device`: place of parameters and
  /// gradients. `timeout`: how long a collective waits for the other ranks.
  ProcessGroup(const RankInfo& info, c10::Device device, std::chrono::seconds timeout = std::chrono::seconds(1800));
  ~ProcessGroup();
  ProcessGroup(const ProcessGroup&) = delete;
  ProcessGroup& operator=(const ProcessGroup&) = delete;

  int64_t rank() const { return info_.rank; }
  int64_t world_size() const { return info_.world_size; }
  bool is_main() const { return info_.rank == 0; }
  const RankInfo& info() const { return info_; }
  /// The place of parameters and gradients.
  const c10::Device& device() const { return device_; }
  /// Rank 0: a random id that the attempts of a restarted run share if the launcher serves the store. Other ranks: "".
  const std::string& run_id() const { return run_id_; }
  /// Rank 0: whether an earlier attempt with the same store was cut off in its run.
  bool is_restarted() const { return is_restarted_; }
  /// Rank 0: whether a run with this id was completed by a process with the same store.
  bool has_completed(const std::string& run_id);
  /// The run is complete: the next run of the same launcher gets another id.
  void end_run();

  /// Replaces each number by its sum over the ranks. Number: int64_t or double.
  template <class Number>
  void sum(const std::vector<Number*>& numbers);
  /// The sum over the ranks.
  template <class Number>
  Number sum(Number number) {
    sum(std::vector<Number*>{&number});
    return number;
  }
  /// Copies the tensors of rank 0 to all ranks, in place.
  void broadcast_(const std::vector<at::Tensor>& tensors);
  /// The text of rank 0.
  std::string broadcast(const std::string& text);
  /// The texts of all ranks, by rank.
  std::vector<std::string> gather(const std::string& text);
  void barrier() { sum(int64_t{1}); }
  /// Sends the reason why this rank ends to the other ranks, for their messages.
  void report_failure(const std::string& cause);
  /// Seconds spent in collectives so far.
  double reduce_wait_seconds() const { return reduce_wait_seconds_; }

 private:
  friend class GradientReducer;
  template <class Work>
  void run(const Work& work);
  template <class Work>
  void run_timed(const Work& work);

  RankInfo info_;
  c10::Device device_;
  std::unique_ptr<detail::Connections> connections_;  ///< null for one process without a launcher's store
  std::string run_id_;
  bool is_restarted_ = false;
  double reduce_wait_seconds_ = 0;
};

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
