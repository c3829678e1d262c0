#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace minimind {

/// Where this process stands among those of the run.
struct RankInfo {
  int64_t rank = 0;
  int64_t world_size = 1;
  int64_t local_rank = 0;      ///< among the processes of this host: chooses the GPU
  int64_t restart = 0;         ///< how often torchrun has started the group anew
  std::string master_address;  ///< empty: a single process
  int64_t master_port = 0;
  std::string store_prefix;      ///< keeps the keys of different runs and restarts apart
  bool store_is_served = false;  ///< the launcher serves the store; every rank, 0 too, is a client
};

/// Reads torchrun's environment (RANK, WORLD_SIZE, …), else SLURM's (SLURM_PROCID, …), else Open MPI's; a single
/// process where there is none. Throws Error on an incomplete or contradictory one.
RankInfo rank_from_environment();

/// The processes of a training run: collectives over Gloo on a CPU and NCCL on CUDA; with one process every call
/// returns at once. Collectives are called by all ranks in the same order. They throw Error where another rank is gone.
class ProcessGroup {
 public:
  /// `device`: where the tensors of sum_() lie. `timeout`: how long a collective waits for the others.
  ProcessGroup(const RankInfo& info, c10::Device device, std::chrono::seconds timeout = std::chrono::seconds(1800));
  ~ProcessGroup();
  ProcessGroup(const ProcessGroup&) = delete;
  ProcessGroup& operator=(const ProcessGroup&) = delete;

  int64_t rank() const { return info_.rank; }
  int64_t world_size() const { return info_.world_size; }
  bool is_main() const { return info_.rank == 0; }
  const RankInfo& info() const { return info_; }

  /// Sums over the ranks, through the CPU.
  std::vector<int64_t> sum(const std::vector<int64_t>& values);
  std::vector<double> sum(const std::vector<double>& values);
  /// Sums float tensors in place, packed into buckets of about `bucket_bytes`.
  void sum_(const std::vector<at::Tensor>& tensors, int64_t bucket_bytes);
  /// Rank 0's values everywhere, in place.
  void broadcast_(const std::vector<at::Tensor>& tensors);
  void barrier();
  /// Seconds spent in collectives so far.
  double waited_seconds() const { return waited_seconds_; }

 private:
  struct Backend;
  RankInfo info_;
  std::unique_ptr<Backend> backend_;
  double waited_seconds_ = 0;
};

}  // namespace minimind
