#include "infer/thread_team.h"

#include <ATen/Parallel.h>
#include <sched.h>

#include <algorithm>

namespace minimind {

namespace {

// A trial of few steps, since a step may take ten times as long beside busy processes. One thread alone has more than
// half of the speed of two.
constexpr int kJudgedSteps = 4;
constexpr double kMostLostShare = 0.3;
constexpr std::chrono::milliseconds kLongestPause{4000};

}  // namespace

void ThreadTeam::run(int64_t most, const std::function<void(const Worker&)>& work) {
  const Clock::time_point start = Clock::now();
  shares_ = start < alone_until_ ? 1 : std::clamp<int64_t>(most, 1, at::get_num_threads());
  if (shares_ == 1) {
    work(Worker{*this, 0, 1});
    return;
  }
  // If fewer threads come than requested, one of them gets several shares.
  at::parallel_for(0, shares_, 1, [&](int64_t begin, int64_t end) {
    const Worker worker{*this, begin, end};
    work(worker);
    worker.barrier();  // else LibTorch's own barrier would wait: it spins for longer
  });
  judge(Clock::now() - start);
}

void ThreadTeam::judge(Clock::duration step) {
  judged_time_ += step;
  if (++judged_steps_ < kJudgedSteps) {
    return;
  }
  const auto lost = std::chrono::nanoseconds(lost_.exchange(0));
  if (lost <= kMostLostShare * judged_time_) {
    pause_ = kFirstPause;
    was_slow_ = false;
  } else if (was_slow_) {
    alone_until_ = Clock::now() + pause_;
    pause_ = std::min<Clock::duration>(2 * pause_, kLongestPause);  // was_slow_ stays: the trial has four steps
  } else {
    was_slow_ = true;  // one interruption on an idle machine
  }
  judged_steps_ = 0;
  judged_time_ = {};
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
  for (int spin = 0; spin < kSpins; ++spin) {
    if (round_.load(std::memory_order_acquire) != round) {
      return;
    }
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }
  const Clock::time_point start = Clock::now();
  while (round_.load(std::memory_order_acquire) == round) {
    ::sched_yield();
  }
  const std::chrono::nanoseconds lost = Clock::now() - start;
  lost_ += lost.count();
}

}  // namespace minimind
