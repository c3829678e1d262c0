#include "train/background_save.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <string>
#include <thread>

#include "minimind/base/error.h"
#include "minimind/base/log.h"

namespace minimind {
namespace {

SavedTensors tensors(double value) {
  SavedTensors live;
  const at::Tensor tied = at::full({3, 2}, value);
  live.checkpoint.add("model.embedding", tied);
  live.checkpoint.add("adam.t", at::full({1}, value + 1));
  live.weights.add("embedding", tied);
  live.weights.add("output", tied);
  return live;
}

double first_of(const at::Tensor& tensor) {
  return tensor.flatten()[0].item<double>();
}

/// A save that lasts until the test says so.
struct SlowWrite {
  std::promise<void> may_end;
  std::shared_future<void> gate = may_end.get_future().share();
  BackgroundSave::Write write(std::string& order, const std::string& name) const {
    return [gate = gate, &order, name](const SavedTensors& saved) {
      gate.wait();
      order += concat(name, ' ', first_of(saved.checkpoint.entries()[0].second), ' ');
    };
  }
};

TEST(CopyToHost, KeepsValuesTiesAndStoragesApart) {
  const SavedTensors live = tensors(5);
  const SavedTensors copies = copy_to_host(live, c10::kCPU);
  const at::Tensor& embedding = *copies.checkpoint.find("model.embedding");
  const at::Tensor& count = *copies.checkpoint.find("adam.t");
  EXPECT_TRUE(embedding.equal(*live.checkpoint.find("model.embedding")));
  EXPECT_FALSE(embedding.is_alias_of(*live.checkpoint.find("model.embedding")));
  EXPECT_TRUE(embedding.is_alias_of(*copies.weights.find("output")));
  EXPECT_TRUE(embedding.is_alias_of(*copies.weights.find("embedding")));
  EXPECT_FALSE(embedding.is_alias_of(count));
  EXPECT_EQ(embedding.storage().nbytes(), embedding.nbytes());
  EXPECT_EQ(first_of(count), 6);
}

TEST(CopyToHost, TakesTensorsLargerThanAPiece) {
  SavedTensors live;
  for (int i = 0; i < 3; ++i) {
    live.checkpoint.add(std::to_string(i), at::arange((13 << 20) + i, at::kFloat) + i);
  }
  live.checkpoint.add("large", at::arange(20 << 20, at::kFloat));
  const SavedTensors copies = copy_to_host(live, c10::kCPU);
  for (const auto& [name, tensor] : live.checkpoint.entries()) {
    EXPECT_TRUE(copies.checkpoint.find(name)->equal(tensor)) << name;
  }
}

TEST(BackgroundSave, WritesTheStateOfItsMomentWhileTheTensorsChange) {
  std::string order;
  SlowWrite slow;
  BackgroundSave saver(0, c10::kCPU);
  const SavedTensors live = tensors(5);
  saver.start(live, slow.write(order, "saved"));
  live.checkpoint.entries()[0].second.fill_(99);
  EXPECT_EQ(order, "");
  slow.may_end.set_value();
  saver.wait();
  EXPECT_EQ(order, "saved 5 ");
}

TEST(BackgroundSave, WaitsForTheSaveBefore) {
  std::string order;
  SlowWrite slow;
  BackgroundSave saver(0, c10::kCPU);
  saver.start(tensors(1), slow.write(order, "first"));
  EXPECT_LT(saver.waited_seconds(), 0.2);
  std::thread end([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    slow.may_end.set_value();
  });
  saver.start(tensors(2), slow.write(order, "second"));
  EXPECT_GT(saver.waited_seconds(), 0.25);
  saver.write_now(tensors(3), slow.write(order, "last"));
  EXPECT_EQ(order, "first 1 second 2 last 3 ");
  end.join();
}

TEST(BackgroundSave, AtTheEndOfARunCopiesNothingOnACpu) {
  BackgroundSave saver(0, c10::kCPU);
  const SavedTensors live = tensors(1);
  saver.write_now(live, [&](const SavedTensors& saved) {
    EXPECT_TRUE(saved.checkpoint.entries()[0].second.is_alias_of(live.checkpoint.entries()[0].second));
  });
}

TEST(BackgroundSave, IsDueByTheClockButNotWhileOneIsWritten) {
  std::string order;
  SlowWrite slow;
  BackgroundSave never(0, c10::kCPU), saver(0.1 / 60, c10::kCPU);
  EXPECT_FALSE(saver.is_due());
  std::this_thread::sleep_for(std::chrono::milliseconds(120));
  EXPECT_TRUE(saver.is_due());
  EXPECT_FALSE(never.is_due());
  saver.start(tensors(1), slow.write(order, "saved"));
  std::this_thread::sleep_for(std::chrono::milliseconds(120));
  EXPECT_FALSE(saver.is_due());
  slow.may_end.set_value();
  while (order.empty()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_TRUE(saver.is_due());
  saver.start(tensors(1), slow.write(order, "again"));
  EXPECT_FALSE(saver.is_due());
}

TEST(BackgroundSave, ErrorsReachTheTrainingThreadOnce) {
  const auto fails = [](const SavedTensors&) { fail("step_7: cannot be written: No space left on device"); };
  const auto works = [](const SavedTensors&) {};
  BackgroundSave saver(0, c10::kCPU);
  saver.start(tensors(1), fails);
  EXPECT_THROW(saver.wait(), Error);
  saver.wait();
  saver.start(tensors(1), fails);
  EXPECT_THROW(saver.start(tensors(1), works), Error);
  saver.start(tensors(1), fails);
  EXPECT_THROW(saver.write_now(tensors(1), works), Error);
  saver.start(tensors(1), fails);
  // Without saves by time too: a step does not go on for hours without a checkpoint.
  EXPECT_THROW(
      for (int i = 0; i < 2000; ++i) {
        saver.is_due();
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      },
      Error);
}

TEST(BackgroundSave, EndsWithItsThreadAndLogsAnErrorThatNobodyGot) {
  std::string log;
  bool is_written = false;
  set_log_sink([&](std::string_view text) { log += text; });
  {
    BackgroundSave saver(0, c10::kCPU);
    saver.start(tensors(1), [&](const SavedTensors&) {
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
      is_written = true;
      fail("disk: full");
    });
  }
  log_to_stderr();
  EXPECT_TRUE(is_written);
  EXPECT_EQ(log, "warning: the checkpoint that was being written was not saved: disk: full\n");
}

}  // namespace
}  // namespace minimind
