#include <gtest/gtest.h>

#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include "dist/process_group.h"
#include "minimind/base/error.h"
#include "minimind/train/trainer.h"
#include "train/report/metrics.h"
#include "train/tiny_run.h"
#include "train/train_step.h"

namespace minimind {
namespace {

using testing::TemporaryFolder;

TEST(Precision, RefusesFloat16TrainingOnACpuAndSaysWhatToUse) {
  try {
    training_dtype("float16", c10::kCPU);
    FAIL() << "no error";
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("--dtype float16: expected a CUDA device, found cpu"), std::string::npos) << text;
    EXPECT_NE(text.find(has_native_bfloat16(c10::kCPU) ? "bfloat16 or float32" : "use --dtype float32"),
              std::string::npos)
        << text;
  }
}

TEST(Precision, IsFloat32OnACpuUnlessAskedForOtherwise) {
  EXPECT_EQ(training_dtype("auto", c10::kCPU), at::kFloat);
  EXPECT_EQ(training_dtype("float32", c10::kCPU), at::kFloat);
  EXPECT_EQ(training_dtype("bfloat16", c10::kCPU), at::kBFloat16);
  EXPECT_EQ(training_dtype("auto", c10::Device(c10::kCUDA, 0)), at::kBFloat16);
}

TEST(Precision, HasNativeBfloat16OnAGpu) {
  EXPECT_TRUE(has_native_bfloat16(c10::Device(c10::kCUDA, 0)));
}

/// 200 steps of a small model on the committed sample data.
std::vector<double> sample_losses(const std::string& dtype, const std::string& out) {
  const std::string sample = std::string(MINIMIND_SOURCE_DIR) + "/data/sample/";
  TrainOptions options;
  options.data_path = sample + "pretrain.json";
  options.images_dir = sample + "images";
  options.tokenizer = sample + "tokenizer.model";
  options.clip_dir = sample + "clip";
  options.out_dir = out;
  options.init_from = "none";
  options.epochs = 100;
  options.max_steps = 200;
  options.batch_size = 4;
  options.learning_rate = 2e-3;
  options.num_workers = 1;
  options.threads = 1;
  options.device = "cpu";
  options.dtype = dtype;
  options.save_last = false;
  options.save_interval = 0;
  options.model.dim = 48;
  options.model.n_layers = 2;
  options.model.n_heads = 4;
  options.model.n_kv_heads = 2;
  options.resolve(Stage::kPretrain);
  options.log_interval = 1;  // one record per step
  std::vector<double> losses;
  ProcessGroup group({}, c10::kCPU);
  train(options, Stage::kPretrain, group, [&](const MetricsRecord& record) { losses.push_back(record.loss); });
  return losses;
}

double mean_of_last(const std::vector<double>& losses, size_t count) {
  double sum = 0;
  for (size_t i = losses.size() - count; i < losses.size(); ++i) {
    sum += losses[i];
  }
  return sum / static_cast<double>(count);
}

TEST(LearningPrecisionSlow, Bfloat16LearnsAsFloat32DoesWithinTwoPercent) {
  const TemporaryFolder folder;
  const std::vector<double> exact = sample_losses("float32", (folder.path() / "f32").string());
  const std::vector<double> rounded = sample_losses("bfloat16", (folder.path() / "bf16").string());
  ASSERT_EQ(exact.size(), 200U);
  ASSERT_EQ(rounded.size(), 200U);
  const double expected = mean_of_last(exact, 50);
  const double found = mean_of_last(rounded, 50);
  std::cout << "mean of the last 50 losses: float32 " << expected << ", bfloat16 " << found << std::endl;
  EXPECT_NE(exact, rounded);  // else bfloat16 was not really selected
  EXPECT_LT(expected, 0.8 * exact.front());
  EXPECT_NEAR(found, expected, 0.02 * expected);
}

}  // namespace
}  // namespace minimind
