#include "train/step_guard.h"

#include <ATen/ops/ones.h>
#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "dist/rank_threads.h"
#include "train/train_state.h"

namespace minimind {
namespace {

constexpr double kInfinite = std::numeric_limits<double>::infinity();

TEST(StepVerdict, IsTheSameOnAllRanksIfOneHasABadLoss) {
  std::vector<std::vector<StepVerdict>> verdicts(2);
  testing::run_ranks(2, [&](ProcessGroup& group) {
    const LossScaler none(false, c10::kCPU), scaler(true, c10::kCPU);
    const bool is_poisoned = group.rank() == 1;
    auto& own = verdicts[static_cast<size_t>(group.rank())];
    own.push_back(judge_step(is_poisoned ? kInfinite : 2, 1, none, group));
    own.push_back(judge_step(is_poisoned ? kInfinite : 2, 1, scaler, group));
    own.push_back(judge_step(2, 1, none, group));
    own.push_back(judge_step(2, kInfinite, none, group));
    EXPECT_EQ(group.sum(group.rank() + 1), 3) << "the ranks have called the same collectives";
  });
  const std::vector<StepVerdict> expected = {StepVerdict::kBad, StepVerdict::kBad, StepVerdict::kGood,
                                             StepVerdict::kBad};
  EXPECT_EQ(verdicts[0], expected);
  EXPECT_EQ(verdicts[1], expected);
}

TEST(StepVerdict, BlamesTheLossScaleDownToOne) {
  ProcessGroup alone({}, c10::kCPU);
  LossScaler scaler(true, c10::kCPU);
  int halvings = 0;
  for (; halvings < 100 && judge_step(2, kInfinite, scaler, alone) == StepVerdict::kScaleTooHigh; ++halvings) {
    scaler.update(at::ones({}));
  }
  EXPECT_EQ(halvings, 17);  // from 65536 to 0.5
  EXPECT_EQ(judge_step(2, kInfinite, scaler, alone), StepVerdict::kBad);
  EXPECT_EQ(judge_step(2, 1, scaler, alone), StepVerdict::kGood);
}

}  // namespace
}  // namespace minimind
