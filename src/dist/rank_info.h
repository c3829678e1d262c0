#pragma once

#include <cstdint>
#include <string>

#include "minimind/base/error.h"

namespace minimind {

/// The program that started the processes.
enum class Launcher { kNone, kTorchrun, kSlurm, kMpi };

/// The place of this process among the processes of the run.
struct RankInfo {
  Launcher launcher = Launcher::kNone;
  int64_t rank = 0;
  int64_t world_size = 1;
  int64_t local_rank = 0;      ///< rank among the processes of this host; chooses the GPU
  int64_t local_ranks = 1;     ///< number of processes on this host, as far as the launcher says
  std::string master_address;  ///< empty: a single process without a launcher's store
  int64_t master_port = 0;
  std::string store_prefix;      ///< separates the keys of different runs
  bool store_is_served = false;  ///< the launcher serves the store; every rank is a client
  /// One process opens the connections of a group too, so that a test with one GPU runs NCCL.
  bool groups_one_rank = false;

  bool has_group() const { return world_size > 1 || groups_one_rank; }
};

/// Another rank has ended or cannot be reached. The message names the rank and the cause if they are known.
class LostRank : public Error {
 public:
  using Error::Error;
};

/// Reads the environment of torchrun (RANK, WORLD_SIZE, …), SLURM (SLURM_PROCID, …), Open MPI (OMPI_COMM_WORLD_RANK, …)
/// or MPICH (PMI_RANK, …), in this order. Returns a single process if no variable is set. The store stands at
/// MASTER_ADDR and MASTER_PORT; under SLURM the default is the job's first host and a port made of the job number.
/// MINIMIND_TEST_GROUP_OF_ONE=1 is for tests, see `groups_one_rank`. Throws Error if the environment is incomplete or
/// contradicts itself.
RankInfo rank_from_environment();

}  // namespace minimind
