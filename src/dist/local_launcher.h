#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "dist/rank_info.h"

namespace minimind {

/// Whether this process has to start `processes` ranks: they are more than one, and this is not one of them. Throws
/// Error if another launcher has started another number of ranks.
bool starts_local_ranks(int64_t processes, const RankInfo& info);

/// The command line of this process: the path of its program, then the arguments. Throws Error without /proc.
std::vector<std::string> own_command();

/// Runs `processes` >= 1 copies of the command as the ranks of one run on this host, with torchrun's variables (RANK,
/// LOCAL_RANK, WORLD_SIZE, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT on a free port), and waits for their end.
/// OMP_NUM_THREADS, if it is not set, becomes each rank's share of this process's threads.
/// - Rank 0 has this process's output. The others' standard output is dropped. Of the first rank that fails, the last
///   lines of standard error are logged.
/// - SIGINT, SIGTERM and SIGHUP go to all ranks. If this process is killed, so are the ranks.
/// - A rank that fails ends the others: they have five seconds to say why they end. A rank that a signal has
///   stopped, with code 128 + SIGINT or SIGTERM, has not failed.
/// Returns 0, or the exit code of the first rank that failed, or else of the first rank that was stopped; 128 + N for a
/// rank that signal N has killed. Throws Error if a process cannot be started. Other threads must block all
/// signals.
int run_local_ranks(int64_t processes, const std::vector<std::string>& command);

}  // namespace minimind
