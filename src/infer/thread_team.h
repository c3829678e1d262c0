#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

namespace minimind {

/// The threads of one decoding step. A step is some forty short pieces of work, each of which needs the piece before.
/// Waking threads for each piece would cost more than the piece: a team stays together for the whole step.
class ThreadTeam {
 public:
  /// One thread with its part of the work: [begin, end) of `shares` equal shares.
  struct Worker {
    ThreadTeam& team;
    int64_t begin;
    int64_t end;

    /// This worker's range of `count` items: [first, last).
    int64_t first(int64_t count) const { return count * begin / team.shares_; }
    int64_t last(int64_t count) const { return count * end / team.shares_; }
    /// Waits until all workers have come here.
    void barrier() const { team.wait_for_all(end - begin); }
  };

  /// Runs `work` once for each worker, in at most `most` threads and at most as many as LibTorch uses. `work` must not
  /// throw: the other workers would wait for ever.
  void run(int64_t most, const std::function<void(const Worker&)>& work);

 private:
  void wait_for_all(int64_t shares);

  // Of the pause instruction. The most is longer than any piece of work on an idle machine, where a thread that sleeps
  // costs more than one that spins. Spins that were in vain shorten later ones.
  static constexpr int kMostSpins = 20'000;
  static constexpr int kFewestSpins = 100;

  int64_t shares_ = 1;
  std::atomic<int64_t> arrived_{0};
  std::atomic<int64_t> round_{0};
  std::atomic<int> spins_{kMostSpins};
};

}  // namespace minimind
