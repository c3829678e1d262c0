#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "support/small_model.h"
#include "train/train_step.h"

namespace minimind {
namespace {

constexpr int64_t kTokens = 3;
constexpr int64_t kVisionDim = 6;

LmConfig small_config(bool use_moe) {
  LmConfig config = testing::small_config(30, kVisionDim, use_moe);
  config.dim = 16;
  config.max_seq_len = 32;
  return config;
}

/// Rows of 9 tokens; row r is supervised from position 3 + r on and has an image if `images`.
Batch make_batch(int64_t seed, int64_t rows, bool images) {
  at::Generator generator = at::globalContext().defaultGenerator(at::kCPU);
  generator.set_current_seed(static_cast<uint64_t>(seed));
  Batch batch;
  batch.ids = at::randint(1, 30, {rows, 9}, at::kLong);
  batch.targets = at::randint(1, 30, {rows, 9}, at::kLong);
  batch.mask = at::zeros({rows, 9}, at::kBool);
  for (int64_t row = 0; row < rows; ++row) {
    batch.mask[row].slice(0, 3 + row % 5, 9).fill_(true);
    batch.sample_ids.push_back("s" + std::to_string(row));
    if (images) {
      batch.spans.push_back({row, 1});
    }
  }
  if (images) {
    batch.features = at::randn({rows, kTokens, kVisionDim});
  }
  batch.supervised_tokens = batch.mask.sum().item<int64_t>();
  batch.tokens = rows * 9;
  return batch;
}

Batch join(const Batch& a, const Batch& b) {
  Batch both = a;
  both.ids = at::cat({a.ids, b.ids});
  both.targets = at::cat({a.targets, b.targets});
  both.mask = at::cat({a.mask, b.mask});
  if (b.features.defined()) {
    both.features = a.features.defined() ? at::cat({a.features, b.features}) : b.features;
  }
  for (ImageSpan span : b.spans) {
    span.row += a.ids.size(0);
    both.spans.push_back(span);
  }
  both.supervised_tokens += b.supervised_tokens;
  both.tokens += b.tokens;
  return both;
}

/// A model with its optimiser, always from the same start.
struct Bench {
  explicit Bench(bool use_moe = false)
      : model(small_config(use_moe)),
        features(nullptr, c10::kCPU, at::kFloat, nullptr, 0),
        group({}, c10::kCPU),
        state((initialise(*model, 3), model), "none", 0.999, at::kFloat),
        context({}, at::kFloat, state, features, group) {
    model->train();
  }
  StepResult step(const std::vector<Batch>& batches, double rate = 1e-2) {
    return train_step(state, context, batches, count_batches(batches), {rate, rate});
  }
  std::vector<at::Tensor> weights() const {
    std::vector<at::Tensor> copies;
    for (const at::Tensor& parameter : model->parameters()) {
      copies.push_back(parameter.detach().clone());
    }
    return copies;
  }

  Vlm model;
  FeatureProvider features;
  ProcessGroup group;
  TrainState state;
  StepContext context;
};

double largest_difference(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    largest = std::max(largest, ((a[i] - b[i]).norm() / b[i].norm()).item<double>());
  }
  return largest;
}

class TrainStepKinds : public ::testing::TestWithParam<bool> {};

TEST_P(TrainStepKinds, AccumulatesUnequalMicroBatchesLikeOneBiggerBatch) {
  Bench parts(GetParam()), whole(GetParam());
  for (int64_t step = 0; step < 4; ++step) {
    const Batch a = make_batch(10 + step, 2, true);
    const Batch b = make_batch(20 + step, 5, true);
    const StepResult split = parts.step({a, b});
    const StepResult joined = whole.step({join(a, b)});
    EXPECT_NEAR(split.loss_sum.item<double>(), joined.loss_sum.item<double>(), 1e-5 * joined.loss_sum.item<double>());
  }
  // The experts' loss is made of each micro-batch's own sequences, so that it adds up too.
  EXPECT_LT(largest_difference(parts.weights(), whole.weights()), 1e-5);
}

TEST_P(TrainStepKinds, LearnsFromMicroBatchesWithAndWithoutImages) {
  Bench parts(GetParam()), whole(GetParam());
  const Batch with = make_batch(1, 3, true);
  const Batch without = make_batch(2, 4, false);
  for (int step = 0; step < 3; ++step) {
    parts.step({with, without});
    whole.step({join(with, without)});
  }
  EXPECT_LT(largest_difference(parts.weights(), whole.weights()), 1e-5);
}

TEST_P(TrainStepKinds, LeavesTheProjectionAloneInAStepWithoutImages) {
  Bench bench(GetParam());
  bench.step({make_batch(1, 3, true)});
  const at::Tensor before = bench.model->projection()->weight.detach().clone();
  const at::Tensor head = bench.model->head_weight().detach().clone();
  EXPECT_TRUE(bench.step({make_batch(2, 3, false)}).is_updated);
  EXPECT_TRUE(before.equal(bench.model->projection()->weight));
  EXPECT_FALSE(head.equal(bench.model->head_weight()));
}

// A GPU gets batches whose length is rounded up.
TEST_P(TrainStepKinds, LearnsTheSameFromABatchWithMorePadding) {
  Bench exact(GetParam()), padded(GetParam());
  const Batch batch = make_batch(1, 4, true);
  Batch longer = batch;
  longer.ids = at::constant_pad_nd(batch.ids, {0, 7});
  longer.targets = at::constant_pad_nd(batch.targets, {0, 7});
  longer.mask = at::constant_pad_nd(batch.mask, {0, 7});
  for (int step = 0; step < 3; ++step) {
    const StepResult one = exact.step({batch}), other = padded.step({longer});
    EXPECT_NEAR(one.loss_sum.item<double>(), other.loss_sum.item<double>(), 1e-5 * one.loss_sum.item<double>());
  }
  EXPECT_LT(largest_difference(exact.weights(), padded.weights()), 1e-5);
}

INSTANTIATE_TEST_SUITE_P(TrainStep, TrainStepKinds, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "Experts" : "Dense"; });

TEST(TrainStep, CountsTheMicroBatchesWithSamples) {
  const StepCounts counts = count_batches({make_batch(1, 2, true), Batch{}, make_batch(2, 5, false)});
  EXPECT_EQ(counts.samples, 7);
  EXPECT_EQ(counts.tokens, 63);
  EXPECT_EQ(counts.supervised_tokens, 6 + 5 + 6 + 5 + 4 + 3 + 2);
  EXPECT_EQ(counts.images, 2);
}

TEST(TrainStep, ChangesNothingWithoutABatchOrWithABadOne) {
  Bench bench;
  const std::vector<at::Tensor> before = bench.weights();
  EXPECT_EQ(count_batches({Batch{}}).supervised_tokens, 0);
  EXPECT_FALSE(bench.step({Batch{}}).is_updated);
  Batch bad = make_batch(1, 2, true);
  bad.features[0][0][0] = std::numeric_limits<float>::quiet_NaN();
  const StepResult outcome = bench.step({bad});
  EXPECT_FALSE(outcome.is_updated);
  EXPECT_TRUE(std::isnan(outcome.grad_norm.item<double>()));
  EXPECT_EQ(largest_difference(bench.weights(), before), 0);
}

TEST(TrainStep, ClipsTheGradientNorm) {
  Bench bench;
  const StepResult outcome = bench.step({make_batch(1, 4, true)});
  std::vector<at::Tensor> gradients = bench.state.adam.gradients();
  double squares = 0;
  for (const at::Tensor& gradient : gradients) {
    squares += gradient.square().sum().item<double>();
  }
  ASSERT_GT(outcome.grad_norm.item<double>(), 1.0);
  EXPECT_NEAR(std::sqrt(squares), 1.0, 1e-4);
}

TEST(Adam, TakesTheFirstStepOfTheFormula) {
  at::Tensor weight = at::zeros({3}).set_requires_grad(true);
  Adam adam({ParameterGroup{{"w", weight}}});
  weight.mutable_grad() = at::randn({3});
  const at::Tensor gradient = weight.grad().clone();
  adam.step({0.1});
  const at::Tensor expected = gradient / (gradient.abs() + 1e-8) * -0.1;
  EXPECT_LT((weight.detach() - expected).abs().max().item<double>(), 1e-6);
}

}  // namespace
}  // namespace minimind
