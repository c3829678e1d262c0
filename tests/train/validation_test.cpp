#include "train/validation.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "dist/process_group.h"
#include "dist/rank_threads.h"
#include "minimind/base/error.h"
#include "minimind/base/file.h"
#include "minimind/train/trainer.h"
#include "train/report/metrics.h"
#include "train/tiny_run.h"

namespace minimind {
namespace {

namespace fs = std::filesystem;
using testing::TemporaryFolder;
using testing::tiny_options;
using testing::write_tiny_data;

/// Rows with the images named; features differ where the names do.
Batch batch_of(const std::vector<std::vector<std::string>>& rows) {
  Batch batch;
  for (size_t row = 0; row < rows.size(); ++row) {
    for (const std::string& name : rows[row]) {
      batch.spans.push_back({static_cast<int64_t>(row), 1});
      batch.image_names.push_back(name);
    }
  }
  return batch;
}

at::Tensor distinct_features(int64_t images) {
  return at::arange(images, at::kFloat).view({images, 1, 1});
}

TEST(SwappedImages, AreThoseOfTheNextSampleWithAsMany) {
  const Batch batch = batch_of({{"a"}, {"b", "c"}, {"d"}, {}, {"e", "f"}});
  EXPECT_EQ(swapped_images(batch, distinct_features(6)), (std::vector<int64_t>{3, 4, 5, 0, 1, 2}));
}

TEST(SwappedImages, DifferInNameAndContent) {
  EXPECT_EQ(swapped_images(batch_of({{"a"}, {"a"}, {"b"}}), distinct_features(3)), (std::vector<int64_t>{2, 2, 0}));
  at::Tensor features = distinct_features(3);
  features[1].copy_(features[0]);  // two names, one image
  EXPECT_EQ(swapped_images(batch_of({{"a"}, {"b"}, {"c"}}), features), (std::vector<int64_t>{2, 2, 0}));
  EXPECT_EQ(swapped_images(batch_of({{"a"}, {"a"}}), distinct_features(2)), (std::vector<int64_t>{-1, -1}));
}

class HeldOut : public ::testing::Test {
 protected:
  void SetUp() override { write_tiny_data(folder_.path(), 22); }
  TrainOptions options(const std::string& out) const {
    TrainOptions settings = tiny_options(folder_.path(), out);
    settings.val_data = settings.data_path;
    return settings;
  }
  static std::vector<ValidationRecord> records_of(const TrainOptions& settings) {
    std::vector<ValidationRecord> records;
    const std::string text = read_file(fs::path(settings.out_dir) / "metrics.jsonl");
    for (size_t at = 0; at < text.size(); at = text.find('\n', at) + 1) {
      if (const auto record = metrics_from_json<ValidationRecord>(text.substr(at, text.find('\n', at) - at))) {
        records.push_back(*record);
      }
    }
    return records;
  }
  static void run(const TrainOptions& settings) {
    ProcessGroup group({}, c10::kCPU);
    train(settings, Stage::kPretrain, group);
  }
  TemporaryFolder folder_;
};

// 22 samples, every fifth without an image: 18 have one.
TEST_F(HeldOut, LossIsRecordedAfterEachEpochAndShowsALearntImage) {
  TrainOptions settings = options("out");
  settings.epochs = 60;
  run(settings);
  const std::vector<ValidationRecord> records = records_of(settings);
  ASSERT_EQ(records.size(), 60U);
  EXPECT_EQ(records.front().micro_step, 6);
  EXPECT_EQ(records.back().micro_step, 360);
  EXPECT_EQ(records.back().samples, 18);
  EXPECT_NEAR(records.front().right, records.front().swapped, 0.2 * records.front().right);
  EXPECT_LT(records.back().right, 0.8 * records.back().swapped);
  EXPECT_NE(read_file(fs::path(settings.out_dir) / "index.html").find("looks at the image"), std::string::npos);
}

TEST_F(HeldOut, LossLeavesTheTrainingAsItWas) {
  TrainOptions with = options("with");
  TrainOptions without = options("without");
  without.val_data.clear();
  for (TrainOptions* settings : {&with, &without}) {
    settings->model.dropout = 0.1;
    run(*settings);
  }
  EXPECT_EQ(read_file(fs::path(with.out_dir) / "16_vlm_pretrain.pth"),
            read_file(fs::path(without.out_dir) / "16_vlm_pretrain.pth"));
}

TEST_F(HeldOut, DataWithoutTwoDifferentImagesIsRefusedBeforeTheRun) {
  TrainOptions settings = options("out");
  settings.val_data = (folder_.path() / "one.json").string();
  const std::string turns = R"("conversations":[{"from":"a","value":"x\n<image>"},{"from":"b","value":"y"}])";
  write_file_atomically(settings.val_data,
                        R"([{"id":"1","image":"p0.png",)" + turns + R"(},{"id":"2","image":"p0.png",)" + turns + "}]");
  try {
    run(settings);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("two samples with different images"), std::string::npos) << error.what();
  }
  EXPECT_FALSE(fs::exists(fs::path(settings.out_dir) / "metrics.jsonl"));
}

ValidationRecord losses_on(const TrainOptions& settings, ProcessGroup& group) {
  TrainingSetup setup = make_setup(settings, Stage::kPretrain, c10::kCPU, nullptr);
  FeatureProvider features(setup.encoder, setup.device, setup.dtype, nullptr, 0);
  return Validation(settings, Stage::kPretrain, setup, features, group).run();
}

TEST_F(HeldOut, LossIsTheSameOnTwoRanks) {
  const TrainOptions settings = options("out");
  ProcessGroup single({}, c10::kCPU);
  const ValidationRecord alone = losses_on(settings, single);
  std::vector<ValidationRecord> records(2);
  testing::run_ranks(
      2, [&](ProcessGroup& group) { records[static_cast<size_t>(group.rank())] = losses_on(settings, group); });
  for (const ValidationRecord& record : records) {
    EXPECT_EQ(record.samples, alone.samples);
    EXPECT_NEAR(record.right, alone.right, 1e-6 * alone.right);
    EXPECT_NEAR(record.swapped, alone.swapped, 1e-6 * alone.swapped);
    EXPECT_NEAR(record.none, alone.none, 1e-6 * alone.none);
  }
  EXPECT_NE(alone.right, alone.swapped);
  EXPECT_NE(alone.right, alone.none);
}

}  // namespace
}  // namespace minimind
