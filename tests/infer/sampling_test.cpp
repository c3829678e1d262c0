#include "minimind/infer/sampling.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "minimind/base/error.h"

namespace minimind {
namespace {

std::vector<float> probabilities_of(const SamplingOptions& options, const std::vector<float>& logits,
                                    const std::vector<TokenId>& seen = {}) {
  Sampler sampler(options);
  const std::span<const float> row = sampler.probabilities(logits, seen);
  return {row.begin(), row.end()};
}

SamplingOptions plain() {
  return {.temperature = 1.0, .top_k = 0};
}

TEST(Sampling, SoftmaxOfAllLogitsWithoutTopK) {
  const std::vector<float> row = probabilities_of(plain(), {0.0F, std::log(3.0F)});
  EXPECT_NEAR(row[0], 0.25, 1e-6);
  EXPECT_NEAR(row[1], 0.75, 1e-6);
}

TEST(Sampling, TemperatureDividesTheLogits) {
  SamplingOptions options = plain();
  options.temperature = 0.5;
  const std::vector<float> row = probabilities_of(options, {0.0F, std::log(3.0F)});
  EXPECT_NEAR(row[1], 0.9, 1e-6);
}

TEST(Sampling, TopKKeepsTheHighestAndGivesTheOthersNothing) {
  SamplingOptions options = plain();
  options.top_k = 2;
  const std::vector<float> row = probabilities_of(options, {1.0F, 5.0F, -2.0F, 5.5F});
  EXPECT_EQ(row[0], 0.0F);
  EXPECT_EQ(row[2], 0.0F);
  EXPECT_NEAR(row[1] + row[3], 1.0, 1e-6);
  EXPECT_NEAR(row[3] / row[1], std::exp(0.5), 1e-5);
}

TEST(Sampling, TopKKeepsTiesWithTheLastKept) {
  SamplingOptions options = plain();
  options.top_k = 2;
  const std::vector<float> row = probabilities_of(options, {2.0F, 1.0F, 1.0F, 1.0F, 0.0F});
  EXPECT_GT(row[1], 0.0F);
  EXPECT_EQ(row[1], row[2]);
  EXPECT_EQ(row[1], row[3]);
  EXPECT_EQ(row[4], 0.0F);
}

TEST(Sampling, TopPKeepsTheFewestTokensThatReachIt) {
  SamplingOptions options = plain();
  const std::vector<float> logits = {std::log(0.15F), std::log(0.5F), std::log(0.05F), std::log(0.3F)};
  options.top_p = 0.7;
  const std::vector<float> row = probabilities_of(options, logits);
  EXPECT_EQ(row[0], 0.0F);
  EXPECT_EQ(row[2], 0.0F);
  EXPECT_NEAR(row[1], 0.5 / 0.8, 1e-6);
  EXPECT_NEAR(row[3], 0.3 / 0.8, 1e-6);
  options.top_p = 0.9;
  EXPECT_GT(probabilities_of(options, logits)[0], 0.0F);
  EXPECT_EQ(probabilities_of(options, logits)[2], 0.0F);
}

TEST(Sampling, ATinyTopPKeepsTheBestTokenAloneTheFirstOfEquals) {
  SamplingOptions options = plain();
  options.top_p = 1e-9;
  const std::vector<float> row = probabilities_of(options, {0.0F, 1.0F, 1.0F});
  EXPECT_EQ(row[0], 0.0F);
  EXPECT_NEAR(row[1], 1.0, 1e-6);
  EXPECT_EQ(row[2], 0.0F);
}

TEST(Sampling, TopPCountsAmongWhatTopKLeaves) {
  SamplingOptions options = plain();
  options.top_k = 2;
  options.top_p = 0.6;
  // 0.4 of the 0.65 that top-k leaves is 0.615: enough.
  const std::vector<float> row =
      probabilities_of(options, {std::log(0.4F), std::log(0.2F), std::log(0.15F), std::log(0.25F)});
  EXPECT_EQ(row[3], 0.0F);
  EXPECT_NEAR(row[0], 1.0, 1e-6);
}

TEST(Sampling, RefusesATopPOutsideItsRange) {
  for (const double top_p : {0.0, -0.1, 1.01, std::numeric_limits<double>::quiet_NaN()}) {
    SamplingOptions options = plain();
    options.top_p = top_p;
    EXPECT_THROW(options.validate(), Error) << top_p;
  }
}

TEST(Sampling, TopKBeyondTheVocabularyKeepsAll) {
  SamplingOptions options = plain();
  options.top_k = 100;
  EXPECT_EQ(probabilities_of(options, {1.0F, 2.0F}), probabilities_of(plain(), {1.0F, 2.0F}));
}

TEST(Sampling, UsualPenaltyLowersANegativeLogitAndTheOriginalsRaisesIt) {
  const std::vector<float> logits = {-2.0F, -2.0F};
  SamplingOptions usual = plain();
  usual.repetition_penalty = 2.0;
  SamplingOptions original = usual;
  original.penalty_mode = RepetitionPenaltyMode::kOriginal;
  // usual: -4 against -2; original: -1 against -2.
  EXPECT_NEAR(probabilities_of(usual, logits, {0})[0], 1.0 / (1.0 + std::exp(2.0)), 1e-6);
  EXPECT_NEAR(probabilities_of(original, logits, {0})[0], 1.0 / (1.0 + std::exp(-1.0)), 1e-6);
}

TEST(Sampling, BothPenaltiesDivideAPositiveLogit) {
  SamplingOptions options = plain();
  options.repetition_penalty = 2.0;
  const std::vector<float> usual = probabilities_of(options, {4.0F, 2.0F}, {0});
  EXPECT_NEAR(usual[0], 0.5, 1e-6);
  options.penalty_mode = RepetitionPenaltyMode::kOriginal;
  EXPECT_EQ(usual, probabilities_of(options, {4.0F, 2.0F}, {0}));
}

TEST(Sampling, PenaltyCountsATokenOnceHoweverOftenItWasSeen) {
  SamplingOptions options = plain();
  options.repetition_penalty = 2.0;
  EXPECT_EQ(probabilities_of(options, {4.0F, 2.0F}, {0, 0, 0}), probabilities_of(options, {4.0F, 2.0F}, {0}));
}

TEST(Sampling, GreedyTakesTheFirstOfTheBest) {
  SamplingOptions options = plain();
  options.temperature = 0;
  Sampler sampler(options);
  Random random(1);
  const std::vector<float> logits = {1.0F, 3.0F, 3.0F};
  EXPECT_EQ(sampler.choose(logits, {}, random), 1);
  EXPECT_EQ(probabilities_of(options, logits), (std::vector<float>{0.0F, 1.0F, 0.0F}));
}

TEST(Sampling, GreedyHeedsThePenalty) {
  SamplingOptions options = plain();
  options.temperature = 0;
  options.repetition_penalty = 2.0;
  Sampler sampler(options);
  Random random(1);
  EXPECT_EQ(sampler.choose(std::vector<float>{3.0F, 2.0F}, std::vector<TokenId>{0}, random), 1);
}

TEST(Sampling, DrawsAsOftenAsTheProbabilitiesSay) {
  Sampler sampler(plain());
  Random random(42);
  const std::vector<float> logits = {0.0F, std::log(3.0F), -100.0F};
  std::vector<int> counts(3, 0);
  constexpr int kDraws = 20000;
  for (int i = 0; i < kDraws; ++i) {
    ++counts[static_cast<size_t>(sampler.choose(logits, {}, random))];
  }
  EXPECT_NEAR(counts[1] / static_cast<double>(kDraws), 0.75, 0.015);
  EXPECT_EQ(counts[2], 0);
}

TEST(Sampling, SameSeedSameTokens) {
  std::vector<float> logits(100);
  for (size_t i = 0; i < logits.size(); ++i) {
    logits[i] = std::sin(static_cast<float>(i));
  }
  const auto draw = [&logits](uint64_t seed) {
    Sampler sampler({.temperature = 1.0, .top_k = 50});
    Random random(seed);
    std::vector<TokenId> ids;
    for (int i = 0; i < 20; ++i) {
      ids.push_back(sampler.choose(logits, {}, random));
    }
    return ids;
  };
  EXPECT_EQ(draw(5), draw(5));
  EXPECT_NE(draw(5), draw(6));
}

TEST(Sampling, RefusesValuesThatCannotBe) {
  EXPECT_THROW(Sampler({.temperature = -1}), Error);
  EXPECT_THROW(Sampler({.temperature = std::nan("")}), Error);
  EXPECT_THROW(Sampler({.top_k = -1}), Error);
  EXPECT_THROW(Sampler({.repetition_penalty = 0}), Error);
  for (const double tiny : {1e-11, 1e-40, 1e-320}) {
    EXPECT_THROW(Sampler({.temperature = tiny}), Error) << tiny;
    EXPECT_THROW(Sampler({.repetition_penalty = tiny}), Error) << tiny;
    EXPECT_THROW(Sampler({.repetition_penalty = 1 / tiny}), Error) << tiny;
  }
}

TEST(Sampling, TheSmallestValuesKeepProbabilitiesNumbers) {
  for (const double penalty : {SamplingOptions::kLeast, 1 / SamplingOptions::kLeast}) {
    for (const RepetitionPenaltyMode mode : {RepetitionPenaltyMode::kUsual, RepetitionPenaltyMode::kOriginal}) {
      Sampler sampler(
          {.temperature = SamplingOptions::kLeast, .top_k = 0, .repetition_penalty = penalty, .penalty_mode = mode});
      const std::span<const float> row =
          sampler.probabilities(std::vector<float>{900.0F, -900.0F, 3.0F}, std::vector<TokenId>{0, 1});
      EXPECT_FLOAT_EQ(row[0] + row[1] + row[2], 1.0F) << penalty;
    }
  }
}

TEST(Sampling, RefusesLogitsThatAreNoNumbers) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  Random random(1);
  for (const double temperature : {0.0, 1.0}) {
    Sampler sampler({.temperature = temperature, .top_k = 0});
    EXPECT_THROW(sampler.choose(std::vector<float>{nan, nan}, {}, random), Error) << temperature;
  }
  Sampler sampler(plain());
  EXPECT_THROW(sampler.choose(std::vector<float>{1.0F, nan}, {}, random), Error);
}

}  // namespace
}  // namespace minimind
