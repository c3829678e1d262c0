// A training step on the make-believe device: the host waits for nothing, and the numbers are the CPU's.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "minimind/model/clip_vision.h"
#include "model/device.h"
#include "model/device_copy.h"
#include "support/fake_cuda/counts.h"
#include "support/small_model.h"
#include "train/step_judge.h"
#include "train/tiny_run.h"
#include "train/train_step.h"
#include "train/validation.h"

namespace minimind {
namespace {

using fake_cuda::Counts;

const c10::Device kCard(c10::kCUDA, 0);

/// Three rows of 21 tokens; each has an image of its own, numbered from `first_image` on.
Batch make_batch(const ClipVision& encoder, int64_t first_image, const c10::Device& device) {
  const int64_t size = encoder->config().image_size;
  const at::TensorOptions options = at::TensorOptions().pinned_memory(!device.is_cpu());
  at::Generator generator = at::detail::createCPUGenerator(static_cast<uint64_t>(first_image));
  Batch batch;
  batch.ids = at::empty({3, 21}, options.dtype(at::kLong)).random_(1, 30, generator);
  batch.targets = at::empty({3, 21}, options.dtype(at::kLong)).random_(1, 30, generator);
  batch.mask = at::empty({3, 21}, options.dtype(at::kBool)).fill_(false);
  batch.mask.slice(1, 9, 18).fill_(true);
  batch.pixel_values = at::empty({3, 3, size, size}, options.dtype(at::kByte)).random_(0, 256, generator);
  for (int64_t row = 0; row < 3; ++row) {
    batch.spans.push_back({row, 1 + row});
    batch.image_names.push_back("image" + std::to_string(first_image + row));
    batch.sample_ids.push_back("sample" + std::to_string(row));
  }
  batch.supervised_tokens = 27;
  batch.tokens = 63;
  return batch;
}

struct Bench {
  Bench(const std::filesystem::path& folder, const c10::Device& place, at::ScalarType dtype, bool use_moe,
        int64_t memory_rows)
      : device(place),
        encoder(make_encoder(folder, place)),
        model(testing::small_config(30, encoder->config().hidden_size, use_moe)),
        features(encoder, place, dtype, nullptr, memory_rows),
        group({}, c10::kCPU),
        state((initialise(*model, 3), model->to(place), model), "none", 0.999, dtype),
        context({}, dtype, state, features, group) {
    model->train();
  }
  static ClipVision make_encoder(const std::filesystem::path& folder, const c10::Device& place) {
    ClipVisionOptions options;
    options.encode_batch = place.is_cpu() ? 8 : 0;
    ClipVision encoder = load_clip_vision(folder / "clip", nullptr, false, options);
    encoder->to(place);
    return encoder;
  }
  StepReading step(int64_t first_image) {
    const std::vector<Batch> batches = {make_batch(encoder, first_image, device)};
    const StepResult result = train_step(state, context, batches, count_batches(batches), {1e-2, 1e-2});
    return {result, state.scaler};
  }

  c10::Device device;
  ClipVision encoder;
  Vlm model;
  FeatureProvider features;
  ProcessGroup group;
  TrainState state;
  StepContext context;
};

struct Kind {
  const char* name;
  at::ScalarType dtype;
  bool use_moe;
  int64_t memory_rows;
};

class DryStep : public ::testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    testing::write_tiny_data(folder_.path(), 1);
    use_device(kCard);
  }
  Bench bench(const c10::Device& device) {
    const Kind& kind = GetParam();
    return {folder_.path(), device, kind.dtype, kind.use_moe, kind.memory_rows};
  }
  testing::TemporaryFolder folder_;
};

TEST_P(DryStep, WaitsForNothingAndHasNoRace) {
  Bench card = bench(kCard);
  card.step(0).numbers();
  const int64_t waits = Counts::get().waits(), misplaced = Counts::get().misplaced(), races = Counts::get().races();
  StepReading before = card.step(0);
  for (const int64_t first_image : {0, 1, 7}) {
    StepReading started = card.step(first_image);
    before.numbers();
    before = std::move(started);
  }
  EXPECT_EQ(Counts::get().waits(), waits);
  EXPECT_EQ(Counts::get().misplaced(), misplaced);
  EXPECT_EQ(Counts::get().races(), races);
}

TEST_P(DryStep, HasTheNumbersOfTheCpu) {
  Bench card = bench(kCard), cpu = bench(c10::kCPU);
  // Experts run on other rows in another order; Adam's first steps enlarge the differences.
  const double tolerance = GetParam().dtype == at::kFloat ? 1e-4 : 2e-2;
  for (const int64_t first_image : {0, 3, 1, 1}) {
    const StepNumbers found = card.step(first_image).numbers(), expected = cpu.step(first_image).numbers();
    EXPECT_NEAR(found.loss_sum, expected.loss_sum, tolerance * expected.loss_sum);
    EXPECT_NEAR(found.grad_norm, expected.grad_norm, tolerance * expected.grad_norm);
    EXPECT_NEAR(found.expert_loss, expected.expert_loss, tolerance * (1 + expected.expert_loss));
  }
  EXPECT_EQ(card.features.encoded(), cpu.features.encoded());
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, DryStep,
    ::testing::Values(Kind{"Float32", at::kFloat, false, 0}, Kind{"Bfloat16", at::kBFloat16, false, 0},
                      Kind{"Experts", at::kFloat, true, 0}, Kind{"ExpertsInBfloat16", at::kBFloat16, true, 0},
                      Kind{"Memory", at::kFloat, false, 100}, Kind{"MemoryInBfloat16", at::kBFloat16, false, 100}),
    [](const auto& info) { return info.param.name; });

TEST(DrySideCopies, RunBesideTheKernelsAndKeepTheValues) {
  use_device(kCard);
  const SideCopies copies(kCard);
  const at::Tensor pinned = at::arange(6).pin_memory(), pageable = at::arange(4, at::kFloat);
  const int64_t waits = Counts::get().waits();
  const std::vector<at::Tensor> found = copies.copy({pinned, at::Tensor(), pageable});
  EXPECT_EQ(Counts::get().waits(), waits);
  EXPECT_FALSE(found[1].defined());
  EXPECT_TRUE(found[0].cpu().equal(pinned));
  EXPECT_TRUE(found[2].cpu().equal(pageable));
}

TEST(DryValidation, ComparesAllImagesOfABatchWithOneWait) {
  use_device(kCard);
  Batch batch;
  for (int64_t row = 0; row < 6; ++row) {
    batch.spans.push_back({row, 0});
    batch.image_names.push_back("image" + std::to_string(row));
  }
  const at::Tensor features = at::ones({6, 2, 3}).to(kCard);
  const int64_t waits = Counts::get().waits();
  EXPECT_EQ(swapped_images(batch, features), std::vector<int64_t>(6, -1));
  EXPECT_EQ(Counts::get().waits(), waits + 1);
}

}  // namespace
}  // namespace minimind
