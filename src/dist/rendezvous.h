#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include "dist/rank_info.h"

namespace minimind::detail {

/// The id of this run: random, and equal for all attempts that share the store. Called by rank 0.
std::string claim_run_id(c10d::Store& store);
/// The run has ended: the next run with this store gets another id.
void release_run_id(c10d::Store& store);

/// Brings the ranks of one attempt together. The launcher's store survives a restart and still holds addresses of dead
/// ranks. Rank 0 therefore numbers each attempt: launchers of several hosts count their restarts differently. The other
/// ranks ask for the number with a random nonce. The attempt opens when the latest nonce of every rank is ready.
class Rendezvous {
 public:
  /// `store`: has the prefix of the run. Each rank has its own connection.
  Rendezvous(c10::intrusive_ptr<c10d::Store> store, const RankInfo& info);

  /// Returns when all ranks of this attempt are ready. Throws Error with the missing rank after `patience`.
  void wait_for_all(std::chrono::seconds patience);

  /// The prefix of all keys of this attempt.
  std::string prefix() const;

 private:
  std::optional<int64_t> missing_rank();
  std::optional<int64_t> missing_for_rank_0();
  bool is_ready(int64_t rank);
  void follow_rank_0();
  void enter(int64_t attempt);
  std::string ready_key(int64_t rank) const;
  std::string open_key() const;

  c10::intrusive_ptr<c10d::Store> store_;
  const RankInfo info_;
  const std::string nonce_;
  int64_t attempt_ = 0;  ///< 0: unknown
};

}  // namespace minimind::detail
