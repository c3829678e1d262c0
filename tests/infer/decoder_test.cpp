#include "minimind/infer/decoder.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "infer/make_decoder.h"
#include "minimind/base/error.h"
#include "model/bfloat16_weights.h"
#include "support/toy_model.h"
#include "support/uncached_decoder.h"

namespace minimind::testing {
namespace {

const std::vector<WeightFormat> kFormats = {WeightFormat::kFloat32, WeightFormat::kBFloat16, WeightFormat::kInt8};

at::Tensor waves_of(int64_t rows, int64_t dim) {
  return at::sin(at::arange(rows * dim, at::kFloat) * 0.37).view({rows, dim});
}

double relative_gap(const std::vector<float>& a, const std::vector<float>& b) {
  double gap = 0, largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    gap = std::max(gap, static_cast<double>(std::abs(a[i] - b[i])));
    largest = std::max(largest, static_cast<double>(std::abs(b[i])));
  }
  return a.size() == b.size() ? gap / largest : 1e30;
}

OneSequence make(const Vlm& model, int64_t capacity, DecoderKind kind, WeightFormat format = WeightFormat::kFloat32) {
  return {make_decoder(model, capacity, kind, format)};
}

OneSequence make_uncached(const Vlm& model, int64_t capacity) {
  return {std::make_unique<UncachedDecoder>(model, capacity)};
}

std::vector<DecoderKind> kinds_for(const Vlm& model) {
  return can_fuse(model) ? std::vector<DecoderKind>{DecoderKind::kLayers, DecoderKind::kFused}
                         : std::vector<DecoderKind>{DecoderKind::kLayers};
}

TEST(Decoder, LogitsWithAndWithoutCacheAgree) {
  for (const bool use_moe : {false, true}) {
    const LmConfig config = toy_lm_config(use_moe);
    const Vlm model = toy_vlm(config);
    OneSequence reference = make_uncached(model, 64);
    const at::Tensor prompt = waves_of(9, config.dim);
    std::vector<std::vector<float>> expected = {reference.prefill(prompt)};
    for (const TokenId id : {5, 200, 17}) {
      expected.push_back(reference.step(id));
    }
    for (const DecoderKind kind : kinds_for(model)) {
      OneSequence decoder = make(model, 64, kind);
      decoder.prefill(waves_of(30, config.dim));
      decoder.truncate(0);  // an older prompt leaves no trace
      EXPECT_LE(relative_gap(decoder.prefill(prompt), expected[0]), 1e-4);
      size_t step = 1;
      for (const TokenId id : {5, 200, 17}) {
        EXPECT_LE(relative_gap(decoder.step(id), expected[step++]), 1e-4);
      }
      EXPECT_EQ(decoder.length(), 12);
    }
  }
}

TEST(Decoder, LayersTakeWeightsInBfloat16) {
  for (const bool use_moe : {false, true}) {
    const LmConfig config = toy_lm_config(use_moe);
    Vlm exact = toy_vlm(config), narrow = toy_vlm(config);
    EXPECT_THROW(make(narrow, 64, DecoderKind::kLayers, WeightFormat::kBFloat16), Error);
    keep_matmul_weights_in_bfloat16(narrow);
    OneSequence expected = make(exact, 64, DecoderKind::kLayers);
    OneSequence found = make(narrow, 64, DecoderKind::kAuto, WeightFormat::kBFloat16);
    const at::Tensor prompt = waves_of(9, config.dim);
    EXPECT_LE(relative_gap(found.prefill(prompt), expected.prefill(prompt)), 3e-2);
    EXPECT_LE(relative_gap(found.step(5), expected.step(5)), 3e-2);
    EXPECT_NE(found.step(7), expected.step(7)) << "the weights are still float32";
  }
}

TEST(Decoder, AKeptPrefixGivesTheLogitsOfAFreshPrefill) {
  for (const bool use_moe : {false, true}) {
    const LmConfig config = toy_lm_config(use_moe);
    const Vlm model = toy_vlm(config);
    const at::Tensor prompt = waves_of(20, config.dim);
    for (const DecoderKind kind : kinds_for(model)) {
      for (const WeightFormat format : kFormats) {
        if (kind == DecoderKind::kLayers && format != WeightFormat::kFloat32) {
          continue;
        }
        OneSequence fresh = make(model, 64, kind, format), kept = make(model, 64, kind, format);
        const std::vector<float> expected = fresh.prefill(prompt), expected_step = fresh.step(5);
        kept.prefill(prompt.narrow(0, 0, 12));
        kept.step(200);
        kept.prefill(waves_of(7, config.dim));
        kept.truncate(12);
        EXPECT_EQ(kept.length(), 12);
        EXPECT_LE(relative_gap(kept.prefill(prompt.narrow(0, 12, 8)), expected), 1e-4);
        EXPECT_EQ(kept.length(), 20);
        EXPECT_LE(relative_gap(kept.step(5), expected_step), 1e-4);
      }
    }
  }
}

TEST(Decoder, RefusesWhatDoesNotFitItsContext) {
  const Vlm model = toy_vlm(toy_lm_config());
  for (const DecoderKind kind : kinds_for(model)) {
    OneSequence decoder = make(model, 8, kind);
    EXPECT_THROW(decoder.prefill(waves_of(9, 32)), Error);
    EXPECT_THROW(decoder.prefill(waves_of(0, 32)), Error);
    EXPECT_THROW(decoder.prefill(waves_of(4, 31)), Error);
    decoder.prefill(waves_of(7, 32));
    EXPECT_THROW(decoder.prefill(waves_of(2, 32)), Error);
    EXPECT_THROW(decoder.step(-1), Error);
    EXPECT_THROW(decoder.step(100'000), Error);
    decoder.step(3);
    EXPECT_THROW(decoder.step(3), Error);
    EXPECT_EQ(decoder.length(), 8);
  }
  EXPECT_THROW(make_decoder(model, 1), Error);
}

TEST(Decoder, RefusesASecondSequence) {
  const Vlm model = toy_vlm(toy_lm_config());
  for (const DecoderKind kind : kinds_for(model)) {
    const auto decoder = make_decoder(model, 8, kind);
    EXPECT_THROW(decoder->prefill(0, waves_of(2, 32)), std::logic_error);
    const SequenceId sequence = decoder->open();
    EXPECT_THROW(decoder->open(), Error);
    EXPECT_THROW(decoder->prefill(sequence + 1, waves_of(2, 32)), std::logic_error);
    EXPECT_THROW(decoder->truncate(sequence, 1), std::logic_error);
    const std::vector<SequenceId> twice = {sequence, sequence};
    const std::vector<TokenId> tokens = {3, 4};
    EXPECT_THROW(decoder->step(twice, tokens), std::logic_error);
  }
}

TEST(Decoder, LowPrecisionStaysNearFloat32) {
  const Vlm model = toy_vlm(toy_lm_config());
  const at::Tensor prompt = waves_of(9, 32);
  OneSequence reference = make_uncached(model, 64);
  reference.prefill(prompt);
  const std::vector<float> expected = reference.step(5);
  for (const WeightFormat format : {WeightFormat::kBFloat16, WeightFormat::kInt8}) {
    OneSequence decoder = make(model, 64, DecoderKind::kFused, format);
    decoder.prefill(prompt);
    const double gap = relative_gap(decoder.step(5), expected);
    EXPECT_LE(gap, 0.1);
    EXPECT_GT(gap, 1e-5) << "the format has no effect";
  }
}

TEST(Decoder, PackingLeavesTheModelAsItWas) {
  const Vlm model = toy_vlm(toy_lm_config());
  const at::Tensor prompt = waves_of(9, 32);
  const std::vector<float> before = make(model, 64, DecoderKind::kLayers).prefill(prompt);
  OneSequence fused = make(model, 64, DecoderKind::kFused, WeightFormat::kInt8);
  fused.prefill(prompt);
  EXPECT_EQ(make(model, 64, DecoderKind::kLayers).prefill(prompt), before);
}

/// Large enough for a team of two threads.
LmConfig wide_config() {
  LmConfig config = toy_lm_config();
  config.dim = 256;
  config.n_layers = 4;
  return config;
}

TEST(Decoder, TwoThreadsGiveTheLogitsOfOne) {
  Vlm model(wide_config());
  initialise(*model, 5);
  const at::Tensor prompt = waves_of(9, 256);
  OneSequence reference = make_uncached(model, 64);
  reference.prefill(prompt);
  const std::vector<float> expected = reference.step(5);
  const int before = at::get_num_threads();
  for (const WeightFormat format : kFormats) {
    std::vector<std::vector<float>> found;
    for (const int threads : {1, 2}) {
      at::set_num_threads(threads);
      OneSequence decoder = make(model, 64, DecoderKind::kFused, format);
      decoder.prefill(prompt);
      found.push_back(decoder.step(5));
      EXPECT_LE(relative_gap(found.back(), expected), format == WeightFormat::kFloat32 ? 1e-4 : 0.1);
    }
    EXPECT_LE(relative_gap(found[0], found[1]), format == WeightFormat::kFloat32 ? 1e-5 : 1e-3);
  }
  at::set_num_threads(before);
}

TEST(Decoder, ALongPromptFillsTheCacheLikeSteps) {
  Vlm model(wide_config());
  initialise(*model, 5);
  const at::Tensor prompt = waves_of(300, 256);
  for (const WeightFormat format : kFormats) {
    OneSequence decoder = make(model, 320, DecoderKind::kFused, format), reference = make_uncached(model, 320);
    const double most = format == WeightFormat::kFloat32 ? 1e-4 : 0.1;
    EXPECT_LE(relative_gap(decoder.prefill(prompt), reference.prefill(prompt)), most);
    EXPECT_LE(relative_gap(decoder.step(5), reference.step(5)), most);
  }
}

TEST(Decoder, LowPrecisionRefusesExperts) {
  EXPECT_THROW(make_decoder(toy_vlm(toy_lm_config(true)), 8, DecoderKind::kAuto, WeightFormat::kInt8), Error);
}

TEST(Decoder, FusedRefusesExperts) {
  EXPECT_THROW(make_decoder(toy_vlm(toy_lm_config(true)), 8, DecoderKind::kFused), Error);
  EXPECT_NO_THROW(make_decoder(toy_vlm(toy_lm_config(true)), 8, DecoderKind::kAuto));
}

}  // namespace
}  // namespace minimind::testing
