#include "minimind/infer/decoder.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "chat/batch_answers.h"
#include "chat/toy_chat.h"
#include "minimind/base/error.h"
#include "minimind/chat/session.h"

namespace minimind::testing {
namespace {

at::Tensor waves_of(int64_t rows, int64_t dim) {
  return at::sin(at::arange(rows * dim, at::kFloat) * 0.37).view({rows, dim});
}

std::vector<float> copy_of(std::span<const float> row) {
  return {row.begin(), row.end()};
}

double relative_gap(const std::vector<float>& a, const std::vector<float>& b) {
  double gap = 0, largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    gap = std::max(gap, static_cast<double>(std::abs(a[i] - b[i])));
    largest = std::max(largest, static_cast<double>(std::abs(b[i])));
  }
  return a.size() == b.size() ? gap / largest : 1e30;
}

std::vector<DecoderKind> fast_kinds(bool use_moe) {
  return use_moe ? std::vector<DecoderKind>{DecoderKind::kCached}
                 : std::vector<DecoderKind>{DecoderKind::kCached, DecoderKind::kFused};
}

TEST(Decoder, LogitsWithAndWithoutCacheAgree) {
  for (const bool use_moe : {false, true}) {
    const LmConfig config = toy_lm_config(use_moe);
    const Vlm model = toy_vlm(config);
    const auto reference = make_decoder(model, 64, DecoderKind::kUncached);
    const at::Tensor prompt = waves_of(9, config.dim);
    std::vector<std::vector<float>> expected = {copy_of(reference->prefill(prompt))};
    for (const TokenId id : {5, 200, 17}) {
      expected.push_back(copy_of(reference->step(id)));
    }
    for (const DecoderKind kind : fast_kinds(use_moe)) {
      const auto decoder = make_decoder(model, 64, kind);
      decoder->prefill(waves_of(30, config.dim));  // an older prompt leaves no trace
      EXPECT_LE(relative_gap(copy_of(decoder->prefill(prompt)), expected[0]), 1e-4);
      size_t step = 1;
      for (const TokenId id : {5, 200, 17}) {
        EXPECT_LE(relative_gap(copy_of(decoder->step(id)), expected[step++]), 1e-4);
      }
      EXPECT_EQ(decoder->length(), 12);
    }
  }
}

TEST(Decoder, RefusesWhatDoesNotFitItsContext) {
  const Vlm model = toy_vlm(toy_lm_config());
  for (const DecoderKind kind : {DecoderKind::kCached, DecoderKind::kFused, DecoderKind::kUncached}) {
    const auto decoder = make_decoder(model, 8, kind);
    EXPECT_THROW(decoder->prefill(waves_of(9, 32)), Error);
    EXPECT_THROW(decoder->prefill(waves_of(0, 32)), Error);
    EXPECT_THROW(decoder->prefill(waves_of(4, 31)), Error);
    decoder->prefill(waves_of(8, 32));
    EXPECT_THROW(decoder->step(3), Error);
  }
  EXPECT_THROW(make_decoder(model, 1), Error);
}

TEST(Decoder, NarrowFormatsStayNearFloat32) {
  const Vlm model = toy_vlm(toy_lm_config());
  const at::Tensor prompt = waves_of(9, 32);
  const auto reference = make_decoder(model, 64, DecoderKind::kUncached);
  reference->prefill(prompt);
  const std::vector<float> expected = copy_of(reference->step(5));
  for (const WeightFormat format : {WeightFormat::kBFloat16, WeightFormat::kInt8}) {
    const auto decoder = make_decoder(model, 64, DecoderKind::kFused, format);
    decoder->prefill(prompt);
    const double gap = relative_gap(copy_of(decoder->step(5)), expected);
    EXPECT_LE(gap, 0.1);
    EXPECT_GT(gap, 1e-5) << "the format has no effect";
  }
}

/// Large enough for a team of two.
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
  const auto reference = make_decoder(model, 64, DecoderKind::kUncached);
  reference->prefill(prompt);
  const std::vector<float> expected = copy_of(reference->step(5));
  const int before = at::get_num_threads();
  for (const WeightFormat format : {WeightFormat::kFloat32, WeightFormat::kBFloat16, WeightFormat::kInt8}) {
    std::vector<std::vector<float>> found;
    for (const int threads : {1, 2}) {
      at::set_num_threads(threads);
      const auto decoder = make_decoder(model, 64, DecoderKind::kFused, format);
      decoder->prefill(prompt);
      found.push_back(copy_of(decoder->step(5)));
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
  for (const WeightFormat format : {WeightFormat::kFloat32, WeightFormat::kBFloat16, WeightFormat::kInt8}) {
    const auto decoder = make_decoder(model, 320, DecoderKind::kFused, format);
    const auto reference = make_decoder(model, 320, DecoderKind::kUncached);
    EXPECT_LE(relative_gap(copy_of(decoder->prefill(prompt)), copy_of(reference->prefill(prompt))),
              format == WeightFormat::kFloat32 ? 1e-4 : 0.1);
  }
}

TEST(Decoder, NarrowFormatsRefuseExperts) {
  EXPECT_THROW(make_decoder(toy_vlm(toy_lm_config(true)), 8, DecoderKind::kAuto, WeightFormat::kInt8), Error);
}

TEST(Decoder, FusedRefusesExperts) {
  EXPECT_THROW(make_decoder(toy_vlm(toy_lm_config(true)), 8, DecoderKind::kFused), Error);
  EXPECT_NO_THROW(make_decoder(toy_vlm(toy_lm_config(true)), 8, DecoderKind::kAuto));
}

TEST(BatchAnswers, EqualTheAnswersOneByOne) {
  for (const bool use_moe : {false, true}) {
    const auto model = toy_chat_model(use_moe);
    std::vector<BatchQuestion> questions;
    for (int i = 0; i < 9; ++i) {
      // Lengths repeat and differ; some questions have two images, some none.
      BatchQuestion question{std::string(static_cast<size_t>(1 + i % 3), 'q'), {}};
      for (int image = 0; image < i % 3; ++image) {
        question.text += "<image>";
        question.features.push_back(model->features(toy_image(i + image)));
      }
      questions.push_back(question);
    }
    int64_t done = 0;
    const std::vector<std::string> batched =
        answer_greedily(*model, questions, {1024, 20, 2}, [&done](int64_t count) { done = count; });
    EXPECT_EQ(done, 9);
    ChatOptions options;
    options.sampling.temperature = 0;
    options.max_new_tokens = 20;
    for (size_t i = 0; i < questions.size(); ++i) {
      ChatSession session(*model, options);
      EXPECT_EQ(batched[i], session.ask(questions[i].text, questions[i].features).text) << i;
    }
  }
}

TEST(BatchAnswers, RefuseAQuestionWithoutItsImage) {
  const auto model = toy_chat_model();
  EXPECT_THROW(answer_greedily(*model, {{"<image> what?", {}}}, {}), Error);
}

TEST(BatchAnswers, NoQuestionsNoAnswers) {
  EXPECT_TRUE(answer_greedily(*toy_chat_model(), {}, {}).empty());
}

}  // namespace
}  // namespace minimind::testing
