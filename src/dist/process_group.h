#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "minimind/base/error.h"

namespace minimind {

/// Who started the processes.
enum class Launcher { kNone, kTorchrun, kSlurm, kMpi };

/// Where this process stands among those of the run.
struct RankInfo {
  Launcher launcher = Launcher::kNone;
  int64_t rank = 0;
  int64_t world_size = 1;
  int64_t local_rank = 0;      ///< among the processes of this host: chooses the GPU
  std::string master_address;  ///< empty: a single process
  int64_t master_port = 0;
  std::string store_prefix;      ///< keeps the keys of different runs apart
  bool store_is_served = false;  ///< the launcher serves the store; every rank, 0 too, is a client
};

/// Reads torchrun's environment (RANK, WORLD_SIZE, …), else SLURM's (SLURM_PROCID, …), else Open MPI's
/// (OMPI_COMM_WORLD_RANK, …), else that of MPICH and its kin (PMI_RANK, …); a single process where there is none.
/// Several processes meet at MASTER_ADDR and MASTER_PORT; under SLURM without them, at the job's first host and a port
/// made of the job's number. Throws Error on an incomplete or contradictory environment.
RankInfo rank_from_environment();

/// When a launcher that restarts what fails began the run and its present attempt, in seconds since 1970. What the run
/// wrote in earlier attempts is from between them; where there is no such launcher, nothing is.
struct AttemptTimes {
  double first = 0;
  double current = 0;
};

/// Another rank is gone; the message names it, and the cause, where they are known.
class LostRank : public Error {
 public:
  using Error::Error;
};

/// The processes of a training run: collectives over Gloo on a CPU and NCCL on CUDA; with one process every call
/// returns at once. Collectives are called by all ranks in the same order. They throw LostRank where another rank is
/// gone; where a rank that dies leaves no trace in the connections (its host is cut off), the others end by themselves
/// within 30 s.
class ProcessGroup {
 public:
  /// Waits until all ranks have come, 5 minutes at most (Error, with the ranks that are missing). `device`: where
  /// parameters and gradients lie. `timeout`: how long a collective waits for the others.
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
  /// Rank 0's values everywhere, in place.
  void broadcast_(const std::vector<at::Tensor>& tensors);
  /// Rank 0's text everywhere.
  std::string broadcast(const std::string& text);
  /// All ranks' texts everywhere, by rank. Meant for short ones: each letter travels as a number.
  std::vector<std::string> gather(const std::string& text);
  void barrier();
  /// Tells the other ranks why this one ends, for their messages.
  void report_failure(const std::string& cause);
  /// Rank 0's; the other ranks' are of no use.
  AttemptTimes attempt_times() const;
  /// Seconds spent in collectives so far.
  double waited_seconds() const { return waited_seconds_; }
  void add_waited(double seconds) { waited_seconds_ += seconds; }

  /// What the collectives run on; known to this layer alone. Null with one process.
  struct Backend;
  Backend* backend() const { return backend_.get(); }

 private:
  RankInfo info_;
  std::unique_ptr<Backend> backend_;
  double waited_seconds_ = 0;
};

}  // namespace minimind
