#include "dist/process_group.h"

#include <ATen/ops/full.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <vector>

#include "dist/rank_threads.h"
#include "dist/rendezvous.h"

namespace minimind {
namespace {

using testing::run_ranks;

TEST(ProcessGroup, IsAloneWithOneProcess) {
  ProcessGroup group({}, c10::kCPU);
  EXPECT_TRUE(group.is_main());
  int64_t number = 3;
  group.sum(std::vector<int64_t*>{&number});
  EXPECT_EQ(number, 3);
  EXPECT_EQ(group.broadcast("text"), "text");
  EXPECT_EQ(group.gather("text"), (std::vector<std::string>{"text"}));
  EXPECT_EQ(group.run_id(), "") << "no launcher restarts it";
  group.barrier();
}

TEST(ProcessGroup, SumsBroadcastsAndGathers) {
  std::atomic<int> checked{0};
  run_ranks(3, [&](ProcessGroup& group) {
    const int64_t rank = group.rank();
    int64_t one = 1, own = rank;
    group.sum(std::vector<int64_t*>{&one, &own});
    EXPECT_EQ(one, 3);
    EXPECT_EQ(own, 3);
    EXPECT_EQ(group.sum(0.5), 1.5);
    EXPECT_EQ(group.gather(std::string(static_cast<size_t>(rank), 'x')), (std::vector<std::string>{"", "x", "xx"}));
    EXPECT_EQ(group.gather(""), std::vector<std::string>(3));
    EXPECT_EQ(group.broadcast(rank == 0 ? "of rank 0" : "something longer than that"), "of rank 0");
    EXPECT_EQ(group.broadcast(rank == 0 ? "" : "x"), "");
    const at::Tensor values = at::full({4}, static_cast<double>(rank + 7), testing::rank_device_type());
    group.broadcast_({values});
    EXPECT_TRUE(values.cpu().equal(at::full({4}, 7.0)));
    group.barrier();
    ++checked;
  });
  EXPECT_EQ(checked, 3);
}

c10::intrusive_ptr<c10d::TCPStore> serve_store() {
  c10d::TCPStoreOptions options;
  options.isServer = true;
  options.port = 0;
  return c10::make_intrusive<c10d::TCPStore>("127.0.0.1", options);
}

c10::intrusive_ptr<c10d::TCPStore> connect_to(uint16_t port) {
  c10d::TCPStoreOptions options;
  options.port = port;
  return c10::make_intrusive<c10d::TCPStore>("127.0.0.1", options);
}

// One rank joins, dies before all are there, and is started again.
TEST(ProcessGroup, TakesNoDeadRankForALivingOne) {
  const auto server = serve_store();
  const auto rendezvous_of = [&](int64_t rank) {
    return detail::Rendezvous(connect_to(server->getPort()), testing::loopback_rank(rank, 3, server->getPort()));
  };
  std::vector<std::string> prefixes(3);
  const auto join = [&](int64_t rank, detail::Rendezvous own) {
    own.wait_for_all(std::chrono::seconds(30));
    prefixes[static_cast<size_t>(rank)] = own.prefix();
  };
  std::thread first(join, 0, rendezvous_of(0));
  EXPECT_THROW(rendezvous_of(1).wait_for_all(std::chrono::seconds(1)), Error) << "rank 2 is missing";
  detail::Rendezvous again = rendezvous_of(1);  // has joined before rank 2 comes
  std::thread second(join, 1, again), third(join, 2, rendezvous_of(2));
  for (std::thread* rank : {&first, &second, &third}) {
    rank->join();
  }
  EXPECT_EQ(prefixes, (std::vector<std::string>(3, "attempt1")));
}

// Each attempt finds the keys of earlier attempts, and no rank knows how many there were.
TEST(ProcessGroup, MeetsAgainInAStoreThatOutlivesItAndKeepsTheRunId) {
  const auto server = serve_store();
  std::vector<std::string> ids;
  for (int attempt = 0; attempt < 3; ++attempt) {
    testing::run_ranks(
        3,
        [&](ProcessGroup& group) {
          EXPECT_EQ(group.sum(int64_t{1}), 3);
          EXPECT_EQ(group.run_id().empty(), !group.is_main());
          if (group.is_main()) {
            ids.push_back(group.run_id());
          }
        },
        server->getPort());
  }
  EXPECT_EQ(ids[0], ids[1]);
  EXPECT_EQ(ids[0], ids[2]);
}

TEST(ProcessGroup, GetsANewRunIdAfterTheEndOfARun) {
  const auto server = serve_store();
  RankInfo alone = testing::loopback_rank(0, 1, server->getPort());
  alone.store_is_served = true;
  std::vector<std::string> ids;
  std::vector<bool> restarts;
  for (const bool ends : {false, true, false}) {
    ProcessGroup group(alone, c10::kCPU);
    EXPECT_EQ(!ids.empty() && group.has_completed(ids[0]), ids.size() == 2) << "completed by the second process";
    ids.push_back(group.run_id());
    restarts.push_back(group.is_restarted());
    if (ends) {
      group.end_run();
    }
  }
  EXPECT_EQ(ids[0], ids[1]) << "one process is restarted too";
  EXPECT_NE(ids[1], ids[2]);
  EXPECT_EQ(restarts, (std::vector<bool>{false, true, false}));
}

}  // namespace
}  // namespace minimind
