#pragma once

#include <memory>
#include <string>
#include <thread>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include "dist/rank_info.h"

namespace minimind::detail {

/// Finds out which rank is gone and why, and ends a process that would wait for it forever.
///
/// Every second each rank increments a key of the store and reads the key of its neighbour. A neighbour is lost after
/// 15 s without a heartbeat, or after 3 s if some rank has met a broken connection. The first rank that sees the loss,
/// or a rank that reports its own end, writes the cause to the store. If the store does not answer, its server is lost.
/// A process must then begin to end within 5 s and be gone after 15 s; else it is ended with a message and code 1.
class RankWatch {
 public:
  /// `store`: has its own connection, so that a blocked call of another thread does not delay it, and its own prefix.
  RankWatch(const RankInfo& info, c10::intrusive_ptr<c10d::Store> store);
  /// Signs off. The rank that serves the store waits up to 10 s for the other ranks.
  ~RankWatch();
  RankWatch(const RankWatch&) = delete;
  RankWatch& operator=(const RankWatch&) = delete;

  /// Sends the reason why this rank ends to the other ranks.
  void report(const std::string& cause);
  /// After a broken connection: which rank is gone, and why. Waits up to 8 s; empty if nothing is known by then.
  std::string explain_loss();

 private:
  struct State;
  /// Shared with the heartbeat thread, which may hang in the network when the process ends.
  std::shared_ptr<State> state_;
  std::thread heartbeat_thread_;
  std::thread watchdog_thread_;
};

}  // namespace minimind::detail
