#include "minimind/model/vlm.h"

#include <ATen/autocast_mode.h>
#include <ATen/ops/allclose.h>
#include <gtest/gtest.h>

#include <cmath>

#include "minimind/base/error.h"
#include "support/model_losses.h"
#include "support/small_model.h"
#include "support/tensor_matcher.h"

namespace minimind::testing {
namespace {

constexpr int64_t kWidth = 5;  // vision tokens of an image in these tests

/// Row 0 has two images, row 1 one, row 2 none.
VlmInput mixed_input(const LmConfig& config) {
  VlmInput input;
  input.ids = seeded_ids({3, 17}, config.vocab_size);
  input.features = waves({3, kWidth, config.vision_dim});
  input.spans = {{0, 1}, {0, 9}, {1, 12}};
  return input;
}

int64_t count_parameters(Vlm& model) {
  int64_t count = 0;
  for (const at::Tensor& parameter : model->parameters()) {
    count += parameter.numel();
  }
  return count;
}

TEST(Vlm, HasTheParameterCountsOfTheReleasedModels) {
  LmConfig config;
  Vlm small(config);
  EXPECT_EQ(count_parameters(small), 27'272'192);
  config.dim = 768;
  config.n_layers = 16;
  Vlm large(config);
  EXPECT_EQ(count_parameters(large), 109'340'160);
}

TEST(ImageSplice, KeepsTextPositionsWhenTwoImagesDiffer) {
  const LmConfig config = small_config();
  Vlm model = small_model(config);
  const at::NoGradGuard without_gradients;
  VlmInput input = mixed_input(config);
  const at::Tensor text = model->embed(input.ids);
  const at::Tensor spliced = model->embed(input);
  const at::Tensor projected = model->projection()->forward(input.features);
  EXPECT_TRUE(at::equal(spliced[0].narrow(0, 1, kWidth), projected[0]));
  EXPECT_TRUE(at::equal(spliced[0].narrow(0, 9, kWidth), projected[1]));
  EXPECT_TRUE(at::equal(spliced[1].narrow(0, 12, kWidth), projected[2]));
  EXPECT_TRUE(at::equal(spliced[2], text[2]));
  for (const int64_t position : {0, 6, 7, 8, 14, 15, 16}) {
    EXPECT_TRUE(at::equal(spliced[0][position], text[0][position])) << position;
  }
}

TEST(ImageSplice, SendsGradientsToTheProjectionAndNotToThePlaceholders) {
  const LmConfig config = small_config();
  Vlm model = small_model(config);
  VlmInput input = mixed_input(config);
  input.ids[0].narrow(0, 1, kWidth).fill_(60);
  model->embed(input).sum().backward();
  const at::Tensor bias_gradient = model->projection()->bias.grad();
  EXPECT_TRUE(is_near(bias_gradient, at::full({32}, 3.0 * kWidth), 1e-5));
  int64_t seen = 0;
  for (int64_t row = 0; row < 3; ++row) {
    for (int64_t position = 0; position < 17; ++position) {
      const bool in_span = (row == 0 && ((position >= 1 && position < 6) || (position >= 9 && position < 14))) ||
                           (row == 1 && position >= 12);
      seen += !in_span && input.ids[row][position].item<int64_t>() == 60 ? 1 : 0;
    }
  }
  EXPECT_EQ(model->head_weight().grad()[60][0].item<double>(), static_cast<double>(seen));
}

TEST(ImageSplice, WithoutImagesTheProjectionHasNoGradient) {
  const LmConfig config = small_config();
  Vlm model = small_model(config);
  VlmInput input{seeded_ids({2, 6}, config.vocab_size), {}, {}, {}};
  mean_of(training_loss(*model, input, input.ids, at::ones_like(input.ids))).backward();
  EXPECT_FALSE(model->projection()->weight.grad().defined());
  input.features = at::zeros({0, kWidth, config.vision_dim});
  EXPECT_NO_THROW(model->hidden(input));
}

TEST(ImageSplice, RefusesImagesThatDoNotMatchTheSpans) {
  const LmConfig config = small_config();
  Vlm model = small_model(config);
  VlmInput input = mixed_input(config);
  input.spans.pop_back();
  EXPECT_THROW(model->hidden(input), Error);
  input.spans.push_back({1, 13});  // ends behind the row
  EXPECT_THROW(model->hidden(input), Error);
  input.spans.back() = {3, 0};
  EXPECT_THROW(model->hidden(input), Error);
  input = mixed_input(config);
  input.features = waves({3, kWidth, config.vision_dim + 1});
  EXPECT_THROW(model->hidden(input), Error);
  input.features = at::Tensor();
  EXPECT_THROW(model->hidden(input), Error);
}

TEST(Vlm, RefusesIdsOutsideTheVocabulary) {
  Vlm model = small_model(small_config());
  EXPECT_THROW(model->hidden({at::full({1, 2}, 61, at::kLong), {}, {}, {}}), Error);
  EXPECT_THROW(model->hidden({at::full({1, 2}, -1, at::kLong), {}, {}, {}}), Error);
}

TEST(Equivalence, ABatchEqualsItsRowsOneByOne) {
  for (const LmConfig& config : {small_config(), small_moe_config()}) {
    Vlm model = small_model(config);
    const at::NoGradGuard without_gradients;
    const VlmInput input = mixed_input(config);
    const at::Tensor together = model->hidden(input);
    for (int64_t row = 0; row < 3; ++row) {
      VlmInput alone;
      // Shorter than the batch: what lies behind a position must not reach it.
      const int64_t length = row == 2 ? 11 : 17;
      alone.ids = input.ids.narrow(0, row, 1).narrow(1, 0, length);
      std::vector<at::Tensor> images;
      for (size_t image = 0; image < input.spans.size(); ++image) {
        if (input.spans[image].row == row) {
          alone.spans.push_back({0, input.spans[image].position});
          images.push_back(input.features[static_cast<int64_t>(image)]);
        }
      }
      alone.features = images.empty() ? at::Tensor() : at::stack(images);
      EXPECT_TRUE(is_near(model->hidden(alone)[0], together[row].narrow(0, 0, length), 1e-5)) << row;
    }
  }
}

TEST(Equivalence, CachedStepsOfAnySizeEqualOnePass) {
  for (const LmConfig& config : {small_config(), small_moe_config()}) {
    Vlm model = small_model(config);
    const at::NoGradGuard without_gradients;
    const VlmInput input = mixed_input(config);
    const at::Tensor embeddings = model->embed(input), whole = model->hidden(input);
    KvCache cache = make_cache(config, 3, 20);
    for (const std::vector<int64_t>& steps : {std::vector<int64_t>{17}, {8, 9}, {9, 1, 1, 4, 2}, {1, 16}}) {
      cache.truncate(0);  // a new prompt: what the last one left must not be seen
      std::vector<at::Tensor> parts;
      for (const int64_t step : steps) {
        parts.push_back(
            model->forward(embeddings.narrow(1, cache.length(), step), {.cache = &cache, .rows = {}, .valid = {}}));
      }
      EXPECT_EQ(cache.length(), 17);
      EXPECT_TRUE(is_near(at::cat(parts, 1), whole, 1e-5));
    }
    cache.truncate(10);
    EXPECT_TRUE(is_near(model->forward(embeddings.narrow(1, 10, 7), {.cache = &cache, .rows = {}, .valid = {}}),
                        whole.narrow(1, 10, 7), 1e-5));
  }
}

TEST(Equivalence, ACacheOfBfloat16HoldsHalfTheBytesAndNearlyTheSame) {
  const LmConfig config = small_config();
  Vlm model = small_model(config);
  const at::NoGradGuard without_gradients;
  const VlmInput input = mixed_input(config);
  KvCache cache = make_cache(config, 3, 17, at::kBFloat16);
  const at::Tensor embeddings = model->embed(input), whole = model->hidden(input);
  model->forward(embeddings.narrow(1, 0, 9), {.cache = &cache, .rows = {}, .valid = {}});
  const at::Tensor rest = model->forward(embeddings.narrow(1, 9, 8), {.cache = &cache, .rows = {}, .valid = {}});
  EXPECT_EQ(cache.layers[0].keys.scalar_type(), at::kBFloat16);
  EXPECT_EQ(rest.scalar_type(), at::kFloat);
  EXPECT_TRUE(is_near(rest, whole.narrow(1, 9, 8), 0.1));
}

TEST(Equivalence, HiddenRowsEqualHiddenWithGradientsAndAuxiliaryLoss) {
  for (const LmConfig& config : {small_config(), small_moe_config()}) {
    for (const bool training : {false, true}) {
      Vlm model = small_model(config);
      model->train(training);
      VlmInput input = mixed_input(config);
      input.valid = at::ones({3, 17}, at::kBool);
      input.valid[2].narrow(0, 11, 6).fill_(false);
      const at::Tensor rows = at::tensor({2, 16, 17, 30, 50}, at::kLong);
      const at::Tensor direction = waves({5, config.dim}, 0.4);

      const at::Tensor by_rows = model->hidden_rows(input, rows);
      const at::Tensor rows_auxiliary = model->auxiliary_loss();
      (by_rows * direction).sum().backward();
      std::vector<at::Tensor> gradients;
      for (const at::Tensor& parameter : model->parameters()) {
        gradients.push_back(parameter.grad().clone());
      }
      model->zero_grad();
      const at::Tensor selected = model->hidden(input).flatten(0, 1).index_select(0, rows);
      (selected * direction).sum().backward();

      EXPECT_TRUE(is_near(by_rows, selected, 1e-5));
      size_t next = 0;
      for (const at::Tensor& parameter : model->parameters()) {
        EXPECT_TRUE(is_near(gradients[next++], parameter.grad(), 1e-4));
      }
      EXPECT_EQ(rows_auxiliary.defined(), training && config.use_moe);
      if (rows_auxiliary.defined()) {
        EXPECT_NEAR(rows_auxiliary.item<double>(), model->auxiliary_loss().item<double>(), 1e-6);
        EXPECT_EQ(model->expert_load().sizes(), at::IntArrayRef({2, 4}));
      }
    }
  }
}

TEST(Vlm, DropsOutInTrainingOnly) {
  LmConfig config = small_config();
  config.dropout = 0.5;
  Vlm model = small_model(config), plain = small_model(small_config());
  const at::NoGradGuard without_gradients;
  const VlmInput input = mixed_input(config);
  EXPECT_TRUE(at::equal(model->hidden(input), plain->hidden(input)));
  model->train();
  EXPECT_GT(largest_gap(model->hidden(input), plain->hidden(input)), 0.1);
  EXPECT_GT(model->embed(input.ids).eq(0).sum().item<int64_t>(), 100);
}

TEST(Initialise, IsSeededAndHasTheStandardDeviationsOfTheOriginal) {
  for (LmConfig config : {small_config(), small_moe_config()}) {
    config.dim = 128;
    Vlm first(config), second(config), other(config);
    initialise(*first, 5);
    initialise(*second, 5);
    initialise(*other, 6);
    const auto again = second->named_parameters(), changed = other->named_parameters();
    for (const auto& named : first->named_parameters()) {
      const std::string& name = named.key();
      const at::Tensor& value = named.value();
      EXPECT_TRUE(at::equal(value, again[name])) << name;
      if (name.find("norm") != std::string::npos) {
        EXPECT_TRUE(at::equal(value, at::ones_like(value))) << name;
        continue;
      }
      EXPECT_FALSE(at::equal(value, changed[name])) << name;
      const double deviation = value.std().item<double>(), bound = value.abs().max().item<double>();
      if (name.starts_with("vision_proj")) {
        EXPECT_LE(bound, 1 / std::sqrt(12.0)) << name;
        EXPECT_NEAR(deviation, 1 / std::sqrt(36.0), 0.02) << name;
      } else if (name.ends_with("gate.weight")) {
        EXPECT_LE(bound, 1 / std::sqrt(128.0)) << name;
      } else {
        const bool residual = name.ends_with("w3.weight") || name.ends_with("wo.weight");
        EXPECT_NEAR(deviation, residual ? 0.01 : 0.02, residual ? 0.0005 : 0.001) << name;
      }
    }
  }
}

TEST(Initialise, ScalesNormalWeightsAloneByTheInitializerRange) {
  Vlm narrow(small_config()), wide(small_config());
  initialise(*narrow, 5, 0.02);
  initialise(*wide, 5, 0.08);
  const auto scaled = wide->named_parameters();
  for (const auto& named : narrow->named_parameters()) {
    const std::string& name = named.key();
    const bool normal = name.find("norm") == std::string::npos && !name.starts_with("vision_proj");
    EXPECT_TRUE(at::allclose(named.value() * (normal ? 4.0 : 1.0), scaled[name])) << name;
  }
}

/// Autocast to bfloat16 on the CPU for its lifetime, as the trainer has it.
class Bfloat16Autocast {
 public:
  Bfloat16Autocast() {
    at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
    at::autocast::set_autocast_enabled(at::kCPU, true);
    at::autocast::increment_nesting();
  }
  ~Bfloat16Autocast() {
    at::autocast::decrement_nesting();
    at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(at::kCPU, false);
  }
};

TEST(Autocast, ToBfloat16KeepsLossAndFloat32GradientsNear) {
  for (const LmConfig& config : {small_config(), small_moe_config()}) {
    Vlm model(config);
    initialise(*model, 3);
    model->train();
    const VlmInput input = mixed_input(config);
    const at::Tensor targets = input.ids.roll(-1, 1), mask = at::ones_like(targets);
    const at::Tensor exact = mean_of(training_loss(*model, input, targets, mask));
    exact.backward();
    std::vector<at::Tensor> gradients;
    for (const at::Tensor& parameter : model->parameters()) {
      gradients.push_back(parameter.grad().clone());
    }
    model->zero_grad();
    at::Tensor narrow;
    {
      const Bfloat16Autocast autocast;
      narrow = mean_of(training_loss(*model, input, targets, mask));
    }
    narrow.backward();
    EXPECT_NEAR(narrow.item<double>(), exact.item<double>(), 0.02);
    size_t next = 0;
    for (const auto& named : model->named_parameters()) {
      const at::Tensor& gradient = named.value().grad();
      const at::Tensor& expected = gradients[next++];
      EXPECT_EQ(gradient.scalar_type(), at::kFloat);
      EXPECT_LE((gradient - expected).norm().item<double>(), 0.05 * expected.norm().item<double>() + 1e-3)
          << named.key();
    }
  }
}

}  // namespace
}  // namespace minimind::testing
