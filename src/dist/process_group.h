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

struct ProcessGroupBackend;

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
  /// Rank 0: a random id that the attempts of a restarted run share if the launcher serves the store. Other ranks: "".
  const std::string& run_id() const { return run_id_; }
  /// The run is complete: the next run of the same launcher gets another id.
  void end_run();

  /// Replaces each number by its sum over the ranks.
  void sum(const std::vector<int64_t*>& numbers);
  void sum(const std::vector<double*>& numbers);
  /// The sum over the ranks.
  int64_t sum(int64_t number);
  double sum(double number);
  /// Copies the tensors of rank 0 to all ranks, in place.
  void broadcast_(const std::vector<at::Tensor>& tensors);
  /// The text of rank 0.
  std::string broadcast(const std::string& text);
  /// The texts of all ranks, by rank.
  std::vector<std::string> gather(const std::string& text);
  void barrier();
  /// Sends the reason why this rank ends to the other ranks, for their messages.
  void report_failure(const std::string& cause);
  /// Seconds spent in collectives so far.
  double reduce_wait_seconds() const { return reduce_wait_seconds_; }
  void add_reduce_wait(double seconds) { reduce_wait_seconds_ += seconds; }

  /// For this layer alone. Null for one process without a launcher's store.
  ProcessGroupBackend* backend() const { return backend_.get(); }

 private:
  template <class Number>
  void sum_numbers(const std::vector<Number*>& numbers);

  RankInfo info_;
  std::unique_ptr<ProcessGroupBackend> backend_;
  std::string run_id_;
  double reduce_wait_seconds_ = 0;
};

}  // namespace minimind
