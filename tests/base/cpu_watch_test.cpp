#include "base/cpu_watch.h"

#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "base/cpu_quota.h"

namespace minimind {
namespace {

/// Moments of 0.2 s on a machine with two CPUs.
class Moments {
 public:
  /// Shares of the two CPUs' time: this process's threads, the others, and the wait of this process's threads.
  bool next(double own, double others, double waited) {
    constexpr double kTotal = 0.4;
    times_.total += kTotal;
    times_.own += own * kTotal;
    times_.idle += (1 - own - others) * kTotal;
    times_.waited += waited * kTotal;
    return judge_.judge(times_);
  }

 private:
  CpuTimes times_{.total = 100, .idle = 50, .own = 10, .waited = 1};
  ContentionJudge judge_;
};

TEST(ContentionJudge, SeesNoneWhileThisProcessIsAlone) {
  Moments alone;
  for (int i = 0; i < 10; ++i) {
    EXPECT_FALSE(alone.next(1.0, 0.0, 0.3));  // more threads than CPUs, all of them its own
    EXPECT_FALSE(alone.next(0.5, 0.05, 0.0));
  }
}

TEST(ContentionJudge, SeesNoneWhereOthersLeaveCpusToThisProcess) {
  Moments beside;
  for (int i = 0; i < 10; ++i) {
    EXPECT_FALSE(beside.next(0.5, 0.5, 0.01));
  }
}

TEST(ContentionJudge, SeesNoneWhileThisProcessRunsForAMomentOnly) {
  Moments rare;
  for (int i = 0; i < 10; ++i) {
    EXPECT_FALSE(rare.next(0.02, 0.9, 0.02));
  }
}

TEST(ContentionJudge, SeesBusyLoopsAtOnceAndTheirEndAfterTwoMoments) {
  Moments busy;
  EXPECT_FALSE(busy.next(1.0, 0.0, 0.0));
  EXPECT_TRUE((busy.next(1.0, 0.0, 0.0), busy.next(0.5, 0.5, 0.5)));
  EXPECT_TRUE(busy.next(0.5, 0.5, 0.2));
  EXPECT_TRUE(busy.next(0.6, 0.0, 0.0));
  EXPECT_FALSE(busy.next(0.6, 0.0, 0.0));
}

TEST(ContentionJudge, TriesAfterFifteenMomentsWhetherTheOthersGiveWay) {
  Moments busy;
  busy.next(1.0, 0.0, 0.0);
  ASSERT_TRUE(busy.next(0.5, 0.5, 0.5));
  int moments = 1;
  while (busy.next(0.6, 0.4, 0.1)) {
    ++moments;
  }
  EXPECT_EQ(moments, 15);
  EXPECT_FALSE(busy.next(0.97, 0.03, 0.03));  // a low priority
  EXPECT_TRUE(busy.next(0.5, 0.5, 0.5));      // equal priority
}

TEST(CpuWatch, AddsTheTimesOfTheChosenCpus) {
  const std::string stat =
      "cpu  1000 0 0 1000 0 0 0 0 0 0\n"
      "cpu0 100 20 30 400 50 6 7 8 90 0\n"
      "cpu1 1 1 1 1 1 1 1 1 0 0\n"
      "cpu10 10 0 0 90 0 0 0 0 0 0\n"
      "intr 12345\n";
  CpuTimes times;
  add_cpu_times(stat, {0, 10}, times);
  EXPECT_NEAR(times.total, 6.21 + 1.0, 1e-9);
  EXPECT_NEAR(times.idle, 4.5 + 0.9, 1e-9);
}

/// Processes that only count, two for each CPU.
class BusyLoops {
 public:
  BusyLoops() {
    for (int64_t i = 0; i < 2 * usable_cpus(); ++i) {
      const pid_t child = fork();
      if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        alarm(30);
        for (volatile unsigned count = 0;;) {
          count = count + 1;
        }
      }
      children_.push_back(child);
    }
  }
  ~BusyLoops() {
    for (const pid_t child : children_) {
      kill(child, SIGKILL);
      waitpid(child, nullptr, 0);
    }
  }
  BusyLoops(const BusyLoops&) = delete;
  BusyLoops& operator=(const BusyLoops&) = delete;

 private:
  std::vector<pid_t> children_;
};

TEST(CpuWatch, SeesBusyProcessesBesideThisOne) {
  const BusyLoops loops;
  const CpuWatch watch;
  std::atomic<bool> is_over = false;
  std::vector<std::thread> own;
  for (int64_t i = 0; i < usable_cpus(); ++i) {
    own.emplace_back([&] {
      while (!is_over) {
      }
    });
  }
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!watch.is_contended() && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  EXPECT_TRUE(watch.is_contended());
  is_over = true;
  for (std::thread& thread : own) {
    thread.join();
  }
}

TEST(CpuWatch, LeavesTheUserHisWaitingPolicy) {
  for (const char* name : {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"}) {
    ::setenv(name, "1000", 1);
    EXPECT_FALSE(CpuWatch().is_watching());
    ::unsetenv(name);
  }
  EXPECT_TRUE(CpuWatch().is_watching());
}

}  // namespace
}  // namespace minimind
