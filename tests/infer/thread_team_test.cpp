#include "infer/thread_team.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <ctime>
#include <optional>
#include <thread>
#include <vector>

#include "base/cpu_watch.h"

namespace minimind::testing {
namespace {

double process_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

/// CPU time that the threads of LibTorch spend on waiting for the next parallel region while this thread sleeps.
double seconds_of_spinning() {
  std::array<double, 5> seconds{};
  for (double& spent : seconds) {
    at::parallel_for(0, 2, 1, [](int64_t, int64_t) {});
    const double before = process_seconds();
    std::this_thread::sleep_for(std::chrono::milliseconds(40));
    spent = process_seconds() - before;
  }
  std::ranges::nth_element(seconds, seconds.begin() + 2);  // the first one includes the start of a thread
  return seconds[2];
}

TEST(ShortSpins, LetThreadsSleepThatWouldSpinForMilliseconds) {
  if (std::getenv("OMP_WAIT_POLICY") != nullptr || std::getenv("GOMP_SPINCOUNT") != nullptr) {
    GTEST_SKIP() << "the environment chooses how threads wait";
  }
  const int before = at::get_num_threads();
  at::set_num_threads(2);
  const double spinning = seconds_of_spinning();
  std::optional<ShortSpins> rule(std::in_place);
  const double sleeping = seconds_of_spinning();
  rule.reset();
  const double again = seconds_of_spinning();
  at::set_num_threads(before);
  EXPECT_GT(spinning, 0.001);
  EXPECT_LT(sleeping, 0.1 * spinning);
  EXPECT_GT(again, 0.3 * spinning);
}

TEST(ThreadTeam, SleepsWhileAWorkerIsMissing) {
  const int before = at::get_num_threads();
  at::set_num_threads(2);
  ThreadTeam team;
  double spent = 0;
  team.run(2, [&](const ThreadTeam::Worker& worker) {
    const double start = process_seconds();
    if (worker.begin == 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
    }
    worker.barrier();
    if (worker.begin == 0) {
      spent = process_seconds() - start;
    }
  });
  at::set_num_threads(before);
  EXPECT_LT(spent, 0.05);  // of 0.2 s
}

TEST(ThreadTeam, WorkersCoverAllSharesAndWaitForEachOther) {
  const int before = at::get_num_threads();
  for (const int threads : {1, 2, 3}) {
    at::set_num_threads(threads);
    ThreadTeam team;
    for (int turn = 0; turn < 40; ++turn) {
      std::vector<std::atomic<int>> parts(24);
      std::atomic<int> early = 0;
      team.run(8, [&](const ThreadTeam::Worker& worker) {
        for (std::atomic<int>& part : parts) {
          part += static_cast<int>(worker.last(100) - worker.first(100));
          worker.barrier();
          early += part == 100 ? 0 : 1;
        }
      });
      EXPECT_EQ(early, 0);
    }
  }
  at::set_num_threads(before);
}

}  // namespace
}  // namespace minimind::testing
