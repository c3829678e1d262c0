#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>

namespace minimind {

/// The threads of one decoding step. A step is some forty short pieces of work, each of which needs the piece before.
/// Waking threads for each piece would cost more than the piece: a team stays together for the whole step.
/// Beside busy processes the threads of a team seldom have processors at the same time, and each waits for the others
/// at every barrier. Then the calling thread does the steps alone, and from time to time a trial shows whether a team
/// is faster again. A result must not depend on the number of workers.
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
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::milliseconds kFirstPause{250};

  void wait_for_all(int64_t shares);

  /// Decides after a step of the team whether its calling thread goes on alone for some time.
  void judge(Clock::duration step);

  int64_t shares_ = 1;
  std::atomic<int64_t> arrived_{0};
  std::atomic<int64_t> round_{0};
  std::atomic<int64_t> lost_{0};  ///< nanoseconds of long waits in the judged steps, of all workers
  int judged_steps_ = 0;
  Clock::duration judged_time_{};
  bool was_slow_ = false;
  Clock::duration pause_{kFirstPause};  ///< doubles with each trial in vain
  Clock::time_point alone_until_{};
};

}  // namespace minimind
