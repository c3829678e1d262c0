#include "infer/batch_generate.h"

#include <gtest/gtest.h>

#include "infer/make_decoder.h"
#include "minimind/base/error.h"
#include "minimind/infer/generator.h"
#include "support/toy_model.h"

namespace minimind::testing {
namespace {

/// Lengths repeat and differ; some prompts have two images, some none.
std::vector<Prompt> toy_prompts() {
  const ByteTokenizer tokenizer;
  const ClipVisionConfig vision = toy_vision_config();
  const ImagePattern pattern = make_image_pattern(tokenizer, kToyPattern, vision.tokens());
  std::vector<Prompt> prompts;
  for (int i = 0; i < 9; ++i) {
    std::string text(static_cast<size_t>(1 + i % 3), 'q');
    std::vector<at::Tensor> features;
    for (int image = 0; image < i % 3; ++image) {
      text += pattern.placeholder;
      features.push_back(at::sin(at::arange(vision.tokens() * vision.hidden_size, at::kFloat) * (0.3 + i + image))
                             .view({vision.tokens(), vision.hidden_size}));
    }
    prompts.push_back(make_prompt(tokenizer, pattern, {{"user", text}}, features));
  }
  return prompts;
}

TEST(BatchGenerate, EqualsTheAnswersOneByOne) {
  for (const bool use_moe : {false, true}) {
    const Vlm model = toy_vlm(toy_lm_config(use_moe));
    const std::vector<Prompt> prompts = toy_prompts();
    int64_t done = 0;
    const std::vector<std::vector<TokenId>> answers =
        generate_batch(model, prompts, {.context = 1024, .max_new_tokens = 20, .batch_size = 2},
                       [&done](int64_t count) { done = count; });
    EXPECT_EQ(done, 9);
    GenerationOptions options;
    options.sampling.temperature = 0;
    options.max_new_tokens = 20;
    for (size_t i = 0; i < prompts.size(); ++i) {
      const auto decoder = make_decoder(model, 1024);
      const at::Tensor embeddings = embed_prompt(model, prompts[i].ids, prompts[i].spans, prompts[i].features);
      Random random(1);
      EXPECT_EQ(answers[i], generate(*decoder, decoder->open(), prompts[i].ids, embeddings, options, random).ids) << i;
    }
  }
}

TEST(BatchGenerate, RefusesAPromptThatLeavesNoRoom) {
  const Vlm model = toy_vlm(toy_lm_config());
  Prompt prompt;
  EXPECT_THROW(generate_batch(model, {prompt}, {}), Error);
  prompt.ids.assign(8, 5);
  EXPECT_THROW(generate_batch(model, {prompt}, {.context = 8}), Error);
  EXPECT_NO_THROW(generate_batch(model, {prompt}, {.context = 9}));
}

TEST(BatchGenerate, GivesNoAnswersToNoPrompts) {
  EXPECT_TRUE(generate_batch(toy_vlm(toy_lm_config()), {}, {}).empty());
}

}  // namespace
}  // namespace minimind::testing
