#include "minimind/infer/prompt.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace minimind::testing {
namespace {

TEST(WithImagePlaceholders, PutsPlaceholdersBeforeATextWithoutAny) {
  EXPECT_EQ(with_image_placeholders("what?", 2, "<image>"), "<image>\n<image>\nwhat?");
  EXPECT_EQ(with_image_placeholders("left <image> or right <image>?", 2, "<image>"), "left <image> or right <image>?");
  EXPECT_EQ(with_image_placeholders("hello", 0, "<image>"), "hello");
}

Prompt numbered_prompt(int64_t length, const std::vector<int64_t>& spans) {
  Prompt prompt;
  for (int64_t i = 0; i < length; ++i) {
    prompt.ids.push_back(static_cast<TokenId>(i));
  }
  prompt.spans = spans;
  for (const int64_t span : spans) {
    prompt.features.push_back(at::full({1}, span));
  }
  return prompt;
}

TEST(CutPrompt, LeavesAPromptThatFitsAlone) {
  Prompt prompt = numbered_prompt(20, {3});
  EXPECT_EQ(cut_prompt(prompt, 20, 5), 0);
  EXPECT_EQ(prompt.ids.size(), 20U);
  EXPECT_EQ(prompt.notice, "");
}

TEST(CutPrompt, CutsTokensFromTheLeft) {
  Prompt prompt = numbered_prompt(20, {10});
  EXPECT_EQ(cut_prompt(prompt, 12, 5), 8);
  EXPECT_EQ(prompt.ids.front(), 8);
  EXPECT_EQ(prompt.spans, (std::vector<int64_t>{2}));
  EXPECT_EQ(prompt.features.size(), 1U);
  EXPECT_NE(prompt.notice.find("8 tokens"), std::string::npos);
}

TEST(CutPrompt, NeverSplitsAnImageSpan) {
  for (int64_t limit = 1; limit < 20; ++limit) {
    Prompt prompt = numbered_prompt(20, {4, 10});
    cut_prompt(prompt, limit, 5);
    ASSERT_EQ(prompt.spans.size(), prompt.features.size());
    for (size_t i = 0; i < prompt.spans.size(); ++i) {
      // The id at a span's start tells where it stood: span and image still belong together.
      EXPECT_EQ(prompt.ids[static_cast<size_t>(prompt.spans[i])], prompt.features[i].item<int64_t>()) << limit;
    }
    const bool inside = !prompt.ids.empty() && ((prompt.ids.front() > 4 && prompt.ids.front() < 9) ||
                                                (prompt.ids.front() > 10 && prompt.ids.front() < 15));
    EXPECT_FALSE(inside) << limit;
    EXPECT_LE(std::ssize(prompt.ids), limit);
  }
}

}  // namespace
}  // namespace minimind::testing
