#include "infer/thread_team.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <atomic>
#include <vector>

namespace minimind::testing {
namespace {

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
