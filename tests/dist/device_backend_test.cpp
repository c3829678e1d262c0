#include "dist/device_backend.h"

#include <gtest/gtest.h>

#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "dist/process_group.h"
#include "dist/rank_threads.h"
#include "minimind/base/error.h"

namespace minimind {
namespace {

std::mutex calls_mutex;
std::vector<std::string> calls;

void record(const std::string& call) {
  const std::lock_guard lock(calls_mutex);
  calls.push_back(call);
}

std::vector<std::string> recorded() {
  const std::lock_guard lock(calls_mutex);
  return calls;
}

class RecordingBackend final : public c10d::Backend {
 public:
  using Backend::Backend;
  const std::string getBackendName() const override { return "recording"; }
  void abort() override { record("abort"); }
  void shutdown() override {
    record("shutdown");
    throw std::runtime_error("cannot be closed\nbacktrace");
  }
};

const c10::Device kGpu(c10::kCUDA, 1);

RankInfo group_of_one() {
  testing::switch_flight_recorder_off();
  RankInfo info = testing::loopback_rank(0, 1, testing::free_port());
  info.groups_one_rank = true;
  return info;
}

TEST(DeviceBackend, OfAGroupOfOneRankIsShutDownAtItsEnd) {
  calls.clear();
  {
    ProcessGroup group(group_of_one(), kGpu, std::chrono::seconds(60));
    EXPECT_EQ(group.gather("text"), std::vector<std::string>{"text"});
    EXPECT_EQ(recorded(), std::vector<std::string>{"0 of 1 on cuda:1, 60 s"});
  }
  EXPECT_EQ(recorded(), (std::vector<std::string>{"0 of 1 on cuda:1, 60 s", "shutdown"}));
}

TEST(DeviceBackend, IsAbortedIfAnExceptionLeavesTheGroup) {
  calls.clear();
  const auto fail = [] {
    const ProcessGroup group(group_of_one(), kGpu, std::chrono::seconds(60));
    throw Error("no such file");
  };
  EXPECT_THROW(fail(), Error);
  EXPECT_EQ(recorded(), (std::vector<std::string>{"0 of 1 on cuda:1, 60 s", "abort"}));
}

TEST(DeviceBackend, IsNotMadeForOneProcessOrForACpu) {
  calls.clear();
  const ProcessGroup alone({}, kGpu);
  const ProcessGroup cpu(group_of_one(), c10::kCPU, std::chrono::seconds(60));
  EXPECT_EQ(recorded(), std::vector<std::string>{});
}

}  // namespace
}  // namespace minimind

/// What make_device_backend() looks for, see kDeviceBackendHook.
extern "C" __attribute__((visibility("default"))) c10d::Backend* minimind_device_backend(
    const minimind::detail::DeviceBackendRequest& request) {
  minimind::record(minimind::concat(request.rank, " of ", request.world_size, " on ", request.device.str(), ", ",
                                    request.timeout.count() / 1000, " s"));
  return c10::make_intrusive<minimind::RecordingBackend>(request.rank, request.world_size).release();
}
