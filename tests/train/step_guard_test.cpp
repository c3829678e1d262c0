#include "train/step_guard.h"

#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "dist/rank_threads.h"
#include "train/step_judge.h"
#include "train/train_state.h"

namespace minimind {
namespace {

constexpr double kInfinite = std::numeric_limits<double>::infinity();

TEST(StepVerdict, IsBadIfTheLossOfARankOrTheGradientIsNotFinite) {
  EXPECT_EQ(judge_step(false, 1, {}), StepVerdict::kGood);
  EXPECT_EQ(judge_step(true, 1, {}), StepVerdict::kBad);
  EXPECT_EQ(judge_step(true, 1, 65536), StepVerdict::kBad);
  EXPECT_EQ(judge_step(false, kInfinite, {}), StepVerdict::kBad);
}

TEST(StepVerdict, BlamesTheLossScaleDownToOne) {
  LossScaler scaler(true, c10::kCPU);
  const auto scale = [&] { return scaler.scale().item<double>(); };
  int halvings = 0;
  for (; halvings < 100 && judge_step(false, kInfinite, scale()) == StepVerdict::kScaleTooHigh; ++halvings) {
    scaler.update(at::ones({}));
  }
  EXPECT_EQ(halvings, 17);  // from 65536 to 0.5
  EXPECT_EQ(judge_step(false, kInfinite, scale()), StepVerdict::kBad);
  EXPECT_EQ(judge_step(false, 1, scale()), StepVerdict::kGood);
}

/// A step whose loss is `loss` per token, of two tokens.
StartedStep step_of(int64_t micro_step, double loss) {
  StepResult result;
  result.loss_sum = at::full({}, 2 * loss, at::kFloat);
  result.grad_norm = at::full({}, 10 + static_cast<double>(micro_step), at::kFloat);
  StartedStep step{.micro_step = micro_step, .supervised_tokens = 2};
  step.reading.emplace(result, LossScaler(false, c10::kCPU));
  return step;
}

struct Finished {
  int64_t micro_step;
  StepVerdict verdict;
  int64_t started;  // steps that were started before
  bool operator==(const Finished&) const = default;
};

/// What each of two ranks finishes in seven steps. Of steps 2 and 5 one rank has a bad loss; step 4 has no token.
std::vector<std::vector<Finished>> finish_seven(bool runs_ahead) {
  std::vector<std::vector<Finished>> finished(2);
  testing::run_ranks(2, [&](ProcessGroup& group) {
    int64_t started = 0;
    StepJudge judge(group, runs_ahead, [&](const StartedStep& step, StepVerdict verdict) {
      finished[static_cast<size_t>(group.rank())].push_back({step.micro_step, verdict, started});
      if (step.numbers) {
        EXPECT_EQ(step.numbers->grad_norm, 10 + step.micro_step);
      }
    });
    for (int64_t step = 1; step <= 7; ++step) {
      judge.judge_next(group.sum(judge.bad_losses()));
      started = step;
      const bool is_poisoned = (step == 2 && group.rank() == 1) || (step == 5 && group.rank() == 0);
      judge.add(step == 4 ? StartedStep{.micro_step = 4} : step_of(step, is_poisoned ? kInfinite : 3));
      if (step == 6) {
        judge.judge_all();
      }
    }
    judge.judge_all();
    EXPECT_EQ(group.sum(group.rank() + 1), 3) << "the ranks have called the same collectives";
  });
  return finished;
}

TEST(StepJudge, JudgesEachStepAtOnceOnACpu) {
  const auto finished = finish_seven(/*runs_ahead=*/false);
  const auto good = StepVerdict::kGood, bad = StepVerdict::kBad;
  const std::vector<Finished> expected = {{1, good, 1}, {2, bad, 2},  {3, good, 3}, {4, good, 4},
                                          {5, bad, 5},  {6, good, 6}, {7, good, 7}};
  EXPECT_EQ(finished[0], expected);
  EXPECT_EQ(finished[1], expected);
}

TEST(StepJudge, JudgesAStepAfterTheNextOneWasStartedAndAllBeforeASave) {
  const auto finished = finish_seven(/*runs_ahead=*/true);
  const auto good = StepVerdict::kGood, bad = StepVerdict::kBad;
  const std::vector<Finished> expected = {{1, good, 2}, {2, bad, 3},  {3, good, 4}, {4, good, 5},
                                          {5, bad, 6},  {6, good, 6}, {7, good, 7}};
  EXPECT_EQ(finished[0], expected);
  EXPECT_EQ(finished[1], expected);
}

}  // namespace
}  // namespace minimind
