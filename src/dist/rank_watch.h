#pragma once

#include <memory>
#include <string>
#include <thread>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include "dist/process_group.h"

namespace minimind::detail {

/// Finds out which rank is gone and why, and ends a process that would wait for it in vain.
///
/// Each rank counts up a key of the store every second and looks at its neighbour's. A neighbour that stands still for
/// 15 s (3 s once some rank has met a broken connection) is lost; the first to see it, or a rank that reports why it
/// ends, writes that down for all. A store that does not answer counts as the loss of who served it. A process that
/// then does not begin to end within 5 s, or has not ended after 15 s, is ended with a message and exit code 1.
class RankWatch {
 public:
  /// `store`: a connection and keys of its own, so that no blocked call of another thread holds it up.
  RankWatch(const RankInfo& info, c10::intrusive_ptr<c10d::Store> store);
  /// Leaves; a rank that serves the store waits for the others first (10 s at most).
  ~RankWatch();
  RankWatch(const RankWatch&) = delete;
  RankWatch& operator=(const RankWatch&) = delete;

  /// Tells the others why this rank ends.
  void report(const std::string& cause);
  /// After a broken connection: who is gone, and why. Waits some seconds for it to be known; empty if it is not.
  std::string explain_loss();

 private:
  struct State;
  /// Shared with the talker, which may hang in the network when all else ends.
  std::shared_ptr<State> state_;
  std::thread talker_;
  std::thread guard_;
};

}  // namespace minimind::detail
