#pragma once

#include <c10/core/Device.h>

#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include "dist/rank_info.h"
#include "dist/rank_watch.h"

namespace minimind::detail {

/// A connection to the store, with the prefix of the run. `serves`: this process keeps the store.
c10::intrusive_ptr<c10d::Store> open_store(const RankInfo& info, bool serves, std::chrono::milliseconds timeout);

/// Unique among all processes of all hosts. Seeded random numbers would be equal on all ranks.
std::string make_nonce();

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

/// The connections of a ProcessGroup.
struct Connections {
  c10::intrusive_ptr<c10d::Store> run_store;      ///< keys of all attempts of the run
  c10::intrusive_ptr<c10d::Store> attempt_store;  ///< keys of this attempt
  /// Null with one process. Destroyed after the backends: it ends the process if closing the connections to a lost rank
  /// hangs.
  std::unique_ptr<RankWatch> watch;
  c10::intrusive_ptr<c10d::ProcessGroupGloo> cpu;
  c10::intrusive_ptr<c10d::Backend> gpu;         ///< null if the device is the CPU
  c10::intrusive_ptr<c10d::ProcessGroup> group;  ///< both backends, as c10d::Reducer wants them
  const int exceptions_before = std::uncaught_exceptions();

  /// Opens `cpu` and, unless the device is the CPU, `gpu`. `patience`: for the connections; `timeout`: for each
  /// collective.
  void open_backends(const RankInfo& info, const c10::Device& device, std::chrono::milliseconds patience,
                     std::chrono::milliseconds timeout);
  /// Called once, before the destructor. While an exception passes, it tells the other ranks that this rank has failed,
  /// unless it has told them why.
  void close();
  /// The backend for tensors on the device.
  c10d::Backend& of(const c10::Device& device) const;
};

}  // namespace minimind::detail
