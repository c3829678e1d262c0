#include "dist/process_group.h"

#include <ATen/ops/full.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <vector>

#include "dist/meeting.h"
#include "dist/rank_threads.h"

namespace minimind {
namespace {

using testing::run_ranks;

TEST(ProcessGroup, IsAloneWithOneProcess) {
  ProcessGroup group({}, c10::kCPU);
  EXPECT_TRUE(group.is_main());
  EXPECT_EQ(group.sum(std::vector<int64_t>{3, 4}), (std::vector<int64_t>{3, 4}));
  EXPECT_EQ(group.broadcast("text"), "text");
  const AttemptTimes times = group.attempt_times();
  EXPECT_EQ(times.first, times.current) << "nothing starts it again";
  group.barrier();
}

TEST(ProcessGroup, SumsAndBroadcasts) {
  std::atomic<int> checked{0};
  run_ranks(3, [&](ProcessGroup& group) {
    const int64_t rank = group.rank();
    EXPECT_EQ(group.sum(std::vector<int64_t>{1, rank}), (std::vector<int64_t>{3, 3}));
    EXPECT_EQ(group.sum(std::vector<double>{0.5}), (std::vector<double>{1.5}));
    EXPECT_EQ(group.broadcast(rank == 0 ? "of rank 0" : "something longer than that"), "of rank 0");
    EXPECT_EQ(group.broadcast(rank == 0 ? "" : "x"), "");
    const at::Tensor values = at::full({4}, static_cast<double>(rank + 7));
    group.broadcast_({values});
    EXPECT_TRUE(values.equal(at::full({4}, 7.0)));
    group.barrier();
    ++checked;
  });
  EXPECT_EQ(checked, 3);
}

// One rank comes, dies before all are there, and is started again.
TEST(ProcessGroup, TakesNoDeadRankForALivingOne) {
  c10d::TCPStoreOptions served;
  served.isServer = true;
  served.port = 0;
  const auto server = c10::make_intrusive<c10d::TCPStore>("127.0.0.1", served);
  const auto meeting = [&](int64_t rank) {
    c10d::TCPStoreOptions client;
    client.port = server->getPort();
    RankInfo info;
    info.rank = rank;
    info.world_size = 3;
    return detail::Meeting(c10::make_intrusive<c10d::TCPStore>("127.0.0.1", client), info);
  };
  std::vector<std::string> prefixes(3);
  const auto come = [&](int64_t rank, detail::Meeting own) {
    own.wait_for_all(std::chrono::seconds(30));
    prefixes[static_cast<size_t>(rank)] = own.prefix();
  };
  std::thread first(come, 0, meeting(0));
  EXPECT_THROW(meeting(1).wait_for_all(std::chrono::seconds(1)), Error) << "rank 2 is missing";
  detail::Meeting again = meeting(1);  // has said its word before rank 2 comes
  std::thread second(come, 1, again), third(come, 2, meeting(2));
  for (std::thread* rank : {&first, &second, &third}) {
    rank->join();
  }
  EXPECT_EQ(prefixes, (std::vector<std::string>(3, "attempt1")));
}

// Each attempt finds the keys of the ones before it, and no rank knows how many there were.
TEST(ProcessGroup, MeetsAnewInAStoreThatOutlivesIt) {
  c10d::TCPStoreOptions served;
  served.isServer = true;
  served.port = 0;
  const auto store = c10::make_intrusive<c10d::TCPStore>("127.0.0.1", served);
  const auto now = [] {
    return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  };
  const double before = now();
  double after_first = 0;
  for (int attempt = 0; attempt < 3; ++attempt) {
    run_ranks(
        3,
        [&](ProcessGroup& group) {
          EXPECT_EQ(group.sum(std::vector<int64_t>{1}), (std::vector<int64_t>{3}));
          if (group.is_main()) {
            EXPECT_GE(group.attempt_times().first, before - 1e-3);
            EXPECT_LE(group.attempt_times().first, attempt == 0 ? now() : after_first);
          }
        },
        store->getPort());
    after_first = attempt == 0 ? now() : after_first;
  }
}

}  // namespace
}  // namespace minimind
