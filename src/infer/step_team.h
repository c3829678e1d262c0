#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <vector>

namespace minimind::detail {

/// The threads of one decoding step. A step is some forty short pieces of work that each need the one before: waking
/// threads for each would cost more than the pieces, so that a team stays together for the whole step.
class StepTeam {
 public:
  /// A member's part of the work: [begin, end) of `shares` equal shares.
  struct Member {
    StepTeam& team;
    int64_t begin;
    int64_t end;

    /// This member's part of `count` things.
    int64_t first(int64_t count) const { return count * begin / team.shares_; }
    int64_t last(int64_t count) const { return count * end / team.shares_; }
    /// Waits until all members have come here.
    void meet() const { team.wait_for_all(end - begin); }
  };

  /// Runs `work` once for each member, in as many threads as the framework gives, `most` at most. `work` must not
  /// throw: the others would wait for ever.
  void run(int64_t most, const std::function<void(const Member&)>& work);

 private:
  void wait_for_all(int64_t shares);

  int64_t shares_ = 1;
  std::atomic<int64_t> arrived_{0};
  std::atomic<int64_t> round_{0};
};

}  // namespace minimind::detail
