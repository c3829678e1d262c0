#include "train/feature_provider.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/stack.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "minimind/model/clip_vision.h"
#include "train/tiny_run.h"

namespace minimind {
namespace {

TEST(FeatureRows, KeepsWhatFitsOnACpuAndAllOrNoneOnAGpu) {
  const c10::Device gpu(c10::kCUDA, 0);
  EXPECT_EQ(feature_rows(10, 100, 5000, c10::kCPU), 10);
  EXPECT_EQ(feature_rows(10, 100, 950, c10::kCPU), 9);
  EXPECT_EQ(feature_rows(10, 100, 1000, gpu), 10);
  EXPECT_EQ(feature_rows(10, 100, 999, gpu), 0);
  EXPECT_EQ(feature_rows(10, 100, 0, gpu), 0);
}

TEST(FeatureRows, HaveTheBytesOfTheirDtype) {
  ClipVisionConfig config;
  const int64_t numbers = config.tokens() * config.hidden_size;
  EXPECT_EQ(feature_row_bytes(config, at::kFloat), 4 * numbers);
  EXPECT_EQ(feature_row_bytes(config, at::kBFloat16), 2 * numbers);
}

/// Six images and the encoder of the tiny run.
class FeaturesOfImages : public ::testing::Test {
 protected:
  void SetUp() override {
    testing::write_tiny_data(folder_.path(), 1);
    ClipVisionOptions options;
    options.encode_batch = 8;
    encoder_ = load_clip_vision(folder_.path() / "clip", nullptr, false, options);
    const int64_t size = encoder_->config().image_size;
    images_ = at::randint(0, 256, {6, 3, size, size}, at::detail::createCPUGenerator(3), at::TensorOptions(at::kByte));
  }
  Batch batch_of(const std::vector<int64_t>& images) const {
    Batch batch;
    std::vector<at::Tensor> pixels;
    for (const int64_t image : images) {
      pixels.push_back(images_[image]);
      batch.image_names.push_back("image" + std::to_string(image));
      batch.spans.push_back({0, 0});
    }
    batch.pixel_values = at::stack(pixels);
    return batch;
  }

  testing::TemporaryFolder folder_;
  ClipVision encoder_ = nullptr;
  at::Tensor images_;
};

TEST_F(FeaturesOfImages, AreTheSameFromMemoryAndFromTheEncoder) {
  FeatureProvider plain(encoder_, c10::kCPU, at::kFloat, nullptr, 0);
  FeatureProvider keeping(encoder_, c10::kCPU, at::kFloat, nullptr, 4);
  const std::vector<std::vector<int64_t>> batches = {{0, 1, 1}, {1, 2, 0}, {3, 4, 2}, {4, 5, 3}, {2, 1}};
  // Each image once, but 1 twice in its first batch, and 4 and 5 each time: they have no room.
  const std::vector<int64_t> encoded = {3, 4, 6, 8, 8};
  for (size_t i = 0; i < batches.size(); ++i) {
    const Batch batch = batch_of(batches[i]);
    EXPECT_TRUE(keeping.features(batch).equal(plain.features(batch))) << i;
    EXPECT_EQ(keeping.encoded(), encoded[i]) << i;
  }
}

TEST_F(FeaturesOfImages, NeedNoImageOnTheDeviceOnceTheyAreKept) {
  FeatureProvider keeping(encoder_, c10::kCPU, at::kFloat, nullptr, 6);
  const Batch batch = batch_of({0, 1});
  EXPECT_TRUE(keeping.input_of(batch).equal(batch.pixel_values));
  keeping.features(batch);
  EXPECT_FALSE(keeping.input_of(batch).defined());
  EXPECT_TRUE(keeping.input_of(batch_of({1, 2})).defined());
}

TEST_F(FeaturesOfImages, AreKeptInTheDtypeToWhichTheProjectionRounds) {
  FeatureProvider plain(encoder_, c10::kCPU, at::kBFloat16, nullptr, 0);
  FeatureProvider keeping(encoder_, c10::kCPU, at::kBFloat16, nullptr, 6);
  const Batch batch = batch_of({0, 1});
  keeping.features(batch);
  const at::Tensor kept = keeping.features(batch);
  EXPECT_EQ(kept.scalar_type(), at::kBFloat16);
  EXPECT_TRUE(kept.equal(plain.features(batch).to(at::kBFloat16)));
}

}  // namespace
}  // namespace minimind
