#include "infer/thread_team.h"

#include <ATen/Parallel.h>
#include <sched.h>

#include <algorithm>

namespace minimind {

void ThreadTeam::run(int64_t most, const std::function<void(const Worker&)>& work) {
  shares_ = std::clamp<int64_t>(most, 1, at::get_num_threads());
  // If fewer threads come than requested, one of them gets several shares.
  at::parallel_for(0, shares_, 1, [&](int64_t begin, int64_t end) { work(Worker{*this, begin, end}); });
}

void ThreadTeam::wait_for_all(int64_t shares) {
  // Longer than any piece of work on an idle machine. On a busy machine the missing thread needs this processor.
  constexpr int kSpins = 20'000;
  const int64_t round = round_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(shares, std::memory_order_acq_rel) + shares == shares_) {
    arrived_.store(0, std::memory_order_relaxed);
    round_.store(round + 1, std::memory_order_release);
    return;
  }
  for (int spin = 0; round_.load(std::memory_order_acquire) == round; ++spin) {
    if (spin < kSpins) {
#if defined(__x86_64__)
      __builtin_ia32_pause();
#endif
    } else {
      ::sched_yield();
    }
  }
}

}  // namespace minimind
