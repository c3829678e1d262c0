#include "infer/thread_team.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>

namespace minimind {

namespace {

constexpr std::chrono::microseconds kLongWait{300};  // much longer than to sleep and wake up

}  // namespace

void ThreadTeam::run(int64_t most, const std::function<void(const Worker&)>& work) {
  shares_ = std::clamp<int64_t>(most, 1, at::get_num_threads());
  // If fewer threads come than requested, one of them gets several shares.
  at::parallel_for(0, shares_, 1, [&](int64_t begin, int64_t end) {
    const Worker worker{*this, begin, end};
    work(worker);
    worker.barrier();  // else LibTorch's own barrier would wait: it spins for longer
  });
}

void ThreadTeam::wait_for_all(int64_t shares) {
  const int64_t round = round_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(shares, std::memory_order_acq_rel) + shares == shares_) {
    arrived_.store(0, std::memory_order_relaxed);
    round_.store(round + 1, std::memory_order_release);
    round_.notify_all();  // a system call only if one sleeps
    return;
  }
  const int spins = spins_.load(std::memory_order_relaxed);
  for (int spin = 0; spin < spins; ++spin) {
    if (round_.load(std::memory_order_acquire) != round) {
      spins_.store(std::min(kMostSpins, spins + spins / 64 + 1), std::memory_order_relaxed);
      return;
    }
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }
  // Either the missing thread has no processor, and may need this one, or it has more work than these few spins last.
  const auto start = std::chrono::steady_clock::now();
  round_.wait(round, std::memory_order_acquire);
  const bool was_long = std::chrono::steady_clock::now() - start > kLongWait;
  spins_.store(std::clamp(was_long ? spins / 4 : spins * 4, kFewestSpins, kMostSpins), std::memory_order_relaxed);
}

}  // namespace minimind
