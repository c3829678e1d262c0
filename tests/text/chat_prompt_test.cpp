#include "minimind/text/chat_prompt.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "text_test_support.h"

namespace {

using minimind::EncodedChat;
using minimind::ImagePattern;
using minimind::Message;
using minimind::Supervision;
using minimind::TokenId;
using minimind::Tokenizer;
using minimind::testing::error_of;
using Ids = std::vector<TokenId>;
using Messages = std::vector<Message>;

// The released pattern in small: `<<>>`.
struct Setting {
  std::unique_ptr<Tokenizer> tokenizer = minimind::testing::small_byte_bpe();
  ImagePattern pattern = minimind::make_image_pattern(*tokenizer, "<<>>", 4);
  EncodedChat encode(const Messages& messages) const { return encode_chat(*tokenizer, pattern, messages); }
  std::string text(const Ids& ids) const { return tokenizer->decode(ids); }
};

// The same with merges that cross the borders of a span.
Setting setting_with_merges(const std::vector<std::pair<std::string, std::string>>& merges) {
  auto model = minimind::testing::small_byte_bpe_model();
  for (const auto& [left, right] : merges) {
    model.vocab[left + right] = static_cast<TokenId>(model.vocab.size() + 3);
    model.merges.emplace_back(left, right);
  }
  Setting setting;
  setting.tokenizer = std::make_unique<minimind::text_detail::ByteBpeTokenizer>(model, "test");
  setting.pattern = minimind::make_image_pattern(*setting.tokenizer, "<<>>", 4);
  return setting;
}

std::string supervised_text(const Setting& setting, const EncodedChat& chat, Supervision supervision) {
  const auto mask = loss_mask(*setting.tokenizer, chat, supervision);
  Ids ids;
  for (size_t i = 0; i < chat.ids.size(); ++i) {
    if (mask.at(i) != 0) {
      ids.push_back(chat.ids[i]);
    }
  }
  return setting.text(ids);
}

TEST(RenderChat, FollowsTheTemplate) {
  EXPECT_EQ(minimind::render_chat(Messages{{"system", "S"}, {"user", "a"}, {"assistant", "b"}, {"user", "c"}}),
            "S<s>user\na</s>\n<s>assistant\nb</s>\n<s>user\nc</s>\n<s>assistant\n");
  EXPECT_EQ(minimind::render_chat(Messages{{"assistant", "b"}}), "b</s>\n");
  EXPECT_EQ(minimind::render_chat(Messages{}), "");
}

TEST(RenderChat, RendersNothingForLaterSystemMessagesAndUnknownRoles) {
  EXPECT_EQ(minimind::render_chat(Messages{{"user", "a"}, {"system", "S"}, {"tool", "t"}, {"assistant", "b"}}),
            "<s>user\na</s>\n<s>assistant\nb</s>\n");
}

TEST(RenderChat, LeavesImageMarksAsTheyAre) {
  EXPECT_EQ(minimind::render_chat(Messages{{"user", "<image>a"}}), "<s>user\n<image>a</s>\n<s>assistant\n");
}

TEST(ImagePatternOf, NamesTheLengthThatDoesNotFit) {
  const auto tokenizer = minimind::testing::small_byte_bpe();
  const std::string error = error_of([&] { minimind::make_image_pattern(*tokenizer, "<<>", 4); });
  EXPECT_NE(error.find("expected 4"), std::string::npos) << error;
  EXPECT_NE(error.find("found 3"), std::string::npos) << error;
}

TEST(EncodeChat, PutsAWholeSlotForEachMarkOfAQuestion) {
  const Setting setting;
  const EncodedChat chat = setting.encode({{"user", "a<image><image>b<image>"}});
  EXPECT_EQ(setting.text(chat.ids), "<s>user\na<<>><<>>b<<>></s>\n<s>assistant\n");
  ASSERT_EQ(chat.spans.size(), 3U);
  for (const int64_t span : chat.spans) {
    EXPECT_TRUE(std::equal(setting.pattern.ids.begin(), setting.pattern.ids.end(), chat.ids.begin() + span));
  }
}

TEST(EncodeChat, TakesMarksInAnswersAndSystemMessagesAsText) {
  const Setting setting;
  const Messages messages{{"system", "<image>"}, {"user", "<image>"}, {"assistant", "<image>"}};
  const EncodedChat chat = setting.encode(messages);
  EXPECT_EQ(chat.spans.size(), 1U);
  EXPECT_EQ(count_image_placeholders(setting.pattern, messages), 1);
  EXPECT_EQ(setting.text(chat.ids), "<image><s>user\n<<>></s>\n<s>assistant\n<image></s>\n");
}

TEST(EncodeChat, CountsMarksOfAllQuestionsWithoutOverlap) {
  const ImagePattern pattern{.placeholder = "##", .text = "", .ids = {}};
  EXPECT_EQ(count_image_placeholders(pattern, Messages{{"user", "###"}, {"assistant", "##"}, {"user", "####"}}), 3);
}

TEST(EncodeChat, EncodesTextBesideASlotAsInItsContext) {
  // Alone, " \n" is one token; before `<` the newline stands apart, as in the original's text.
  const Setting setting = setting_with_merges({{"Ġ", "Ċ"}});
  const Ids whole = setting.tokenizer->encode("<s>user\na \n<<>>b</s>\n<s>assistant\n");
  EXPECT_EQ(setting.encode({{"user", "a \n<image>b"}}).ids, whole);
  EXPECT_NE(setting.tokenizer->encode("a \n").size(), setting.tokenizer->encode("a \n<").size() - 1);
}

TEST(EncodeChat, KeepsTheSlotWhereASpaceBeforeItWouldBreakIt) {
  const Setting setting = setting_with_merges({{"Ġ", "<"}});
  const Messages messages{{"user", "one <image> two <image>"}};
  const EncodedChat chat = setting.encode(messages);
  EXPECT_EQ(chat.spans.size(), 2U);
  EXPECT_EQ(setting.text(chat.ids), "<s>user\none <<>> two <<>></s>\n<s>assistant\n");
  const Ids original = setting.tokenizer->encode(setting.text(chat.ids));
  EXPECT_TRUE(minimind::find_image_spans(std::span<const TokenId>(original), setting.pattern.ids).empty());
}

TEST(EncodeChat, KeepsTheSlotWhereItsNeighboursWouldMergeWithIt) {
  const Setting setting = setting_with_merges({{">", "="}, {"(", "<"}});
  const EncodedChat chat = setting.encode({{"user", "(<image>=b(<image>=(<image>"}});
  EXPECT_EQ(chat.spans.size(), 3U);
  EXPECT_EQ(setting.text(chat.ids), "<s>user\n(<<>>=b(<<>>=(<<>></s>\n<s>assistant\n");
}

TEST(EncodeChat, FindsAPatternThatTheUserWroteOut) {
  const Setting setting;
  EXPECT_EQ(setting.encode({{"user", "<<>>a<image>"}}).spans.size(), 2U);
  EXPECT_EQ(setting.encode({{"user", "<<<image>>>"}}).spans.size(), 1U);
}

TEST(EncodeChat, ServesAPatternOfOneRepeatedSymbol) {
  Setting setting;
  setting.pattern = minimind::make_image_pattern(*setting.tokenizer, "@@@", 3);
  const EncodedChat chat = setting.encode({{"user", "<image>x<image>"}});
  EXPECT_EQ(chat.spans.size(), 2U);
  EXPECT_EQ(setting.text(chat.ids), "<s>user\n@@@x@@@</s>\n<s>assistant\n");
}

TEST(EncodeChat, RepairsInvalidText) {
  const Setting setting;
  EXPECT_EQ(setting.text(setting.encode({{"user", "a\xFF<image>"}}).ids), "<s>user\na\uFFFD<<>></s>\n<s>assistant\n");
}

TEST(EncodeChat, NamesTheSpanOfEachAnswer) {
  const Setting setting;
  const EncodedChat chat = setting.encode(
      {{"user", "q<image>"}, {"assistant", "one"}, {"user", "r"}, {"assistant", " two\n"}, {"user", "open"}});
  ASSERT_EQ(chat.answers.size(), 2U);
  const auto text = [&](const std::pair<int64_t, int64_t>& span) {
    return setting.text({chat.ids.begin() + span.first, chat.ids.begin() + span.second});
  };
  EXPECT_EQ(text(chat.answers[0]), "\none</s>\n");
  EXPECT_EQ(text(chat.answers[1]), "\n two\n</s>\n");
}

TEST(EncodeChat, NamesTheSpansOfAnswersWithoutAQuestion) {
  const Setting setting;
  const EncodedChat chat = setting.encode({{"assistant", "a"}, {"assistant", "\nb"}});
  EXPECT_EQ(supervised_text(setting, chat, Supervision::kAllAnswers), "a</s>\n\nb</s>\n");
  const EncodedChat twice = setting.encode({{"user", "q"}, {"assistant", "a"}, {"assistant", "b"}});
  ASSERT_EQ(twice.answers.size(), 2U);
  EXPECT_EQ(twice.answers[1].first, twice.answers[0].second);
}

TEST(LossMask, SupervisesTheLastAnswerOrAll) {
  const Setting setting;
  const EncodedChat chat = setting.encode({{"user", "q"}, {"assistant", "one"}, {"user", "r"}, {"assistant", "two"}});
  EXPECT_EQ(supervised_text(setting, chat, Supervision::kLastAnswer), "\ntwo</s>\n");
  EXPECT_EQ(supervised_text(setting, chat, Supervision::kAllAnswers), "\none</s>\n\ntwo</s>\n");
}

TEST(LossMask, TakesALiteralMarkerForTheLastAnswerOnly) {
  const Setting setting;
  const EncodedChat chat = setting.encode({{"user", "<s>assistant q"}, {"assistant", "x<s>assistant y"}});
  EXPECT_EQ(supervised_text(setting, chat, Supervision::kLastAnswer), " y</s>\n");
  EXPECT_EQ(supervised_text(setting, chat, Supervision::kAllAnswers), "\nx<s>assistant y</s>\n");
}

TEST(LossMask, SupervisesNearlyEverythingWithoutAMarkerAsTheOriginalDoes) {
  const auto released_like =
      setting_with_merges({{"s", "s"}, {"i", "s"}, {"is", "t"}, {"a", "n"}, {"an", "t"}, {"ist", "ant"}});
  const EncodedChat chat{.ids = Ids(6, 40), .spans = {}, .answers = {}};
  ASSERT_EQ(released_like.tokenizer->encode("<s>assistant").size(), 4U);
  EXPECT_FALSE(has_answer_marker(*released_like.tokenizer, chat.ids));
  EXPECT_EQ(loss_mask(*released_like.tokenizer, chat, Supervision::kLastAnswer),
            (std::vector<uint8_t>{0, 0, 0, 1, 1, 1}));
  EXPECT_EQ(loss_mask(*released_like.tokenizer, chat, Supervision::kAllAnswers), std::vector<uint8_t>(6, 0));
}

TEST(LossMask, ReachesNoFurtherThanTruncatedIds) {
  const Setting setting;
  EncodedChat chat = setting.encode({{"user", "q"}, {"assistant", "a long answer"}});
  chat.ids.resize(static_cast<size_t>(chat.answers[0].first) + 3);
  EXPECT_EQ(supervised_text(setting, chat, Supervision::kAllAnswers), "\na ");
  EXPECT_EQ(supervised_text(setting, chat, Supervision::kLastAnswer), "\na ");
  chat.ids.resize(2);
  EXPECT_EQ(loss_mask(*setting.tokenizer, chat, Supervision::kAllAnswers), (std::vector<uint8_t>{0, 0}));
  EXPECT_EQ(loss_mask(*setting.tokenizer, chat, Supervision::kLastAnswer).size(), 2U);
  chat.ids.clear();
  EXPECT_TRUE(loss_mask(*setting.tokenizer, chat, Supervision::kLastAnswer).empty());
}

TEST(LossMask, TellsAMarkerFromALongerWord) {
  const Setting setting = setting_with_merges({{"t", "s"}});
  EXPECT_TRUE(has_answer_marker(*setting.tokenizer, setting.tokenizer->encode("x<s>assistant\n")));
  EXPECT_FALSE(has_answer_marker(*setting.tokenizer, setting.tokenizer->encode("x<s>assistants\n")));
  EXPECT_FALSE(has_answer_marker(*setting.tokenizer, Ids{}));
}

}  // namespace
