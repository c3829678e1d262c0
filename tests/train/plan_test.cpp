#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "dist/process_group.h"
#include "minimind/train/trainer.h"
#include "support/small_model.h"
#include "train/memory_plan.h"
#include "train/report/flops.h"
#include "train/tiny_run.h"

namespace minimind {
namespace {

using testing::TemporaryFolder;
using testing::tiny_options;
using testing::write_tiny_data;

TEST(AllocationTrace, FollowsWhatIsLive) {
  AllocationTrace trace(c10::kCPU);
  {
    const at::Tensor a = at::empty({1000}, at::kFloat);
    const at::Tensor b = at::empty({500}, at::kFloat);
  }
  EXPECT_EQ(trace.take(), (std::vector<int64_t>{4000, 6000, 4000, 0}));
  EXPECT_TRUE(trace.take().empty());
}

TEST(AllocationTrace, ExtrapolatesEachMomentByItself) {
  // The moment of the peak changes with the samples: 10 + 0·n against n.
  EXPECT_EQ(extrapolated_peak({10, 1}, 1, {10, 2}, 2, 4), 10);
  EXPECT_EQ(extrapolated_peak({10, 1}, 1, {10, 2}, 2, 40), 40);
  // Traces of different lengths: by their maxima.
  EXPECT_EQ(extrapolated_peak({10, 1}, 1, {10, 12, 2}, 2, 4), 16);
}

TEST(MemoryPlan, GrowsWithTheBatchAndNamesTheChosenOne) {
  const TemporaryFolder folder;
  write_tiny_data(folder.path(), 12);
  const TrainOptions options = tiny_options(folder.path(), "out");
  ProcessGroup group({}, c10::kCPU);
  TrainingSetup setup = make_setup(options, Stage::kPretrain, c10::kCPU, nullptr);
  const MemoryPlan plan = make_plan(options, Stage::kPretrain, setup, group);
  EXPECT_EQ(plan.gradients, plan.weights);
  EXPECT_EQ(plan.adam, 2 * plan.weights);
  EXPECT_EQ(plan.saving, 3 * plan.weights);
  EXPECT_GT(plan.program, 10'000'000);
  ASSERT_EQ(plan.rows.size(), 7U);
  const MemoryPlan::Row& last = plan.rows.back();
  EXPECT_EQ(last.peak, plan.weights + plan.gradients + plan.adam + plan.saving + plan.encoder + plan.features +
                           plan.program + last.activations + last.allocator + last.loader);
  for (size_t i = 1; i < plan.rows.size(); ++i) {
    EXPECT_GT(plan.rows[i].activations, plan.rows[i - 1].activations);
  }
  EXPECT_NE(plan_table(plan, 4).find("<- --batch_size"), std::string::npos);
}

TEST(MemoryPlan, CountsTheCopyThatASaveWrites) {
  const TemporaryFolder folder;
  write_tiny_data(folder.path(), 12);
  TrainOptions options = tiny_options(folder.path(), "out");
  options.save_minutes = 0;
  ProcessGroup group({}, c10::kCPU);
  TrainingSetup setup = make_setup(options, Stage::kPretrain, c10::kCPU, nullptr);
  EXPECT_EQ(make_plan(options, Stage::kPretrain, setup, group).saving, 0);
  options.save_interval = 7;
  MemoryPlan plan = make_plan(options, Stage::kPretrain, setup, group);
  EXPECT_EQ(plan.saving, plan.weights + plan.adam);
  EXPECT_NE(plan_table(plan, 4).find("  copy for saving   "), std::string::npos);
  plan.on_gpu = true;
  plan.saving = 330'000'000;
  const std::string on_gpu = plan_table(plan, 4);
  EXPECT_NE(on_gpu.find("\nbeside it, in memory of the host: 330.0 MB for the copy that a save writes"),
            std::string::npos)
      << on_gpu;
  EXPECT_EQ(on_gpu.find("  copy for saving   "), std::string::npos);
}

TEST(MemoryPlan, KeepsFeaturesOfTheImagesThatTheRunMeets) {
  const TemporaryFolder folder;
  write_tiny_data(folder.path(), 12);
  TrainOptions options = tiny_options(folder.path(), "out");
  ProcessGroup group({}, c10::kCPU);
  TrainingSetup setup = make_setup(options, Stage::kPretrain, c10::kCPU, nullptr);
  options.batch_size = 2;
  const auto features = [&](int64_t max_steps) {
    options.max_steps = max_steps;
    return make_plan(options, Stage::kPretrain, setup, group).features;
  };
  const int64_t all = features(0);
  // Ten of the twelve samples have an image.
  EXPECT_EQ(features(2) * 10, all * 4);
  EXPECT_EQ(features(1000), all);
}

TEST(MemoryPlan, EndsWithoutTraining) {
  const TemporaryFolder folder;
  write_tiny_data(folder.path(), 12);
  TrainOptions options = tiny_options(folder.path(), "out");
  options.plan = true;
  EXPECT_EQ(run_training(options, Stage::kPretrain), 0);
  EXPECT_TRUE(std::filesystem::is_empty(options.out_dir));
}

LmConfig counted_config() {
  LmConfig config = testing::small_config(100, 8);
  config.n_layers = 3;
  return config;
}

// Each weight of a matrix costs a multiply-add forward and two backward for each token.
TEST(FlopsCounter, IsSixTimesTheMatricesAndTheAttention) {
  const LmConfig config = counted_config();
  const Vlm model(config);
  double matrices = 0;
  for (const auto& item : model->named_parameters()) {
    if (item.value().dim() == 2 && !item.key().starts_with("vision_proj.")) {
      matrices += static_cast<double>(item.value().numel());
    }
  }
  const FlopsCounter count(config, ClipVisionConfig{}, "none");
  // Samples of one token: on average half of a token is seen, of 4 * dim operations forward.
  const double attention = 3 * 0.5 * 4 * 32 * 3;
  EXPECT_DOUBLE_EQ(count.training({10, 10, 10, 0}), 10 * (6 * matrices + attention));
  EXPECT_LT(count.training({10, 10, 1, 0}), count.training({10, 10, 10, 0}));
}

TEST(FlopsCounter, LeavesOutWhatFrozenLayersDoNotNeed) {
  const LmConfig config = counted_config();
  const StepCounts step{10, 100, 20, 5};
  const auto count = [&](const char* freeze) {
    return FlopsCounter(config, ClipVisionConfig{}, freeze).training(step);
  };
  EXPECT_LT(count("middle_layers"), count("none"));
  EXPECT_LT(count("language_model"), count("middle_layers"));
}

TEST(PeakFlops, IsMeasuredInAFractionOfASecondWithoutTouchingTheRandomState) {
  at::Generator generator = at::detail::getDefaultCPUGenerator();
  generator.set_current_seed(3);
  const at::Tensor before = at::randn({4});
  generator.set_current_seed(3);
  const auto start = std::chrono::steady_clock::now();
  EXPECT_GT(measure_peak_flops(c10::kCPU, at::kFloat), 1e8);
  EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(), 5.0);
  EXPECT_TRUE(at::randn({4}).equal(before));
}

}  // namespace
}  // namespace minimind
