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

TEST(ThreadTeam, LeavesTheStepsToOneThreadWhileAnotherIsLate) {
  const int before = at::get_num_threads();
  at::set_num_threads(2);
  ThreadTeam team;
  const auto workers_of_a_step = [&](bool is_late) {
    std::atomic<int> workers = 0;
    team.run(2, [&](const ThreadTeam::Worker& worker) {
      ++workers;
      if (is_late && worker.begin == 1) {
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
      }
      worker.barrier();
    });
    return workers.load();
  };
  int steps = 0;
  while (workers_of_a_step(/*is_late=*/true) == 2 && steps < 50) {
    ++steps;
  }
  EXPECT_EQ(steps, 8);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (workers_of_a_step(/*is_late=*/false) == 1 && std::chrono::steady_clock::now() < end) {
  }
  EXPECT_EQ(workers_of_a_step(/*is_late=*/false), 2);
  at::set_num_threads(before);
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
