#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include "dist/process_group.h"

namespace minimind::detail {

/// How the ranks of one attempt find each other in a store that may have outlived earlier attempts of the group, with
/// the keys and addresses that those left there.
///
/// Rank 0 numbers the attempts: torchrun's own count of restarts does not serve for that, since with several hosts and
/// an elastic rendezvous each launcher counts for itself. Every other rank says hello with a word that nobody has used
/// before and gets the number in answer, so that it never takes a dead attempt for its own. Rank 0 opens the attempt
/// once whoever spoke last for each rank has come.
class Meeting {
 public:
  /// `store`: with the run's prefix; each rank has a connection of its own.
  Meeting(c10::intrusive_ptr<c10d::Store> store, const RankInfo& info);

  /// Returns once every rank of this attempt is there. Throws Error after `patience`, with the rank that is missing.
  void wait_for_all(std::chrono::seconds patience);

  /// What the keys of this attempt begin with.
  std::string prefix() const;
  /// Rank 0: when the first attempt that this store has seen began, in seconds since 1970.
  double first_started() const { return first_started_; }

 private:
  std::optional<int64_t> missing_rank();
  std::optional<int64_t> missing_for_rank_0();
  bool has_come(int64_t rank);
  void follow_rank_0();
  void enter(int64_t attempt);
  std::string here(int64_t rank) const;
  std::string hello(int64_t rank) const;
  std::string is_open() const;

  c10::intrusive_ptr<c10d::Store> store_;
  const RankInfo info_;
  const std::string own_word_;
  int64_t attempt_ = 0;  ///< 0: not known yet
  double first_started_ = 0;
};

}  // namespace minimind::detail
