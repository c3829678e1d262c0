#include "eval/scores.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "minimind/base/error.h"

namespace minimind {
namespace {

AttributeRules toy_rules() {
  return AttributeRules({{{"red", "红色"}, {"blue", "蓝色"}},
                         {{"circle", "圆形"}, {"ellipse", "椭圆形"}, {"triangle", "三角形"}},
                         {{"top left", "左上"}, {"left", "左边"}, {"top", "上边"}}},
                        {{"1", {{"Red", "红色"}, {"circle", "圆形"}}}});
}

bool is_right(const std::string& answer, const std::vector<Spellings>& required) {
  return toy_rules().is_right(answer, required);
}

const std::vector<Spellings> kRedCircle = {{"red", "红色"}, {"circle", "圆形"}};

TEST(AttributeRules, NeedEveryFactInEitherLanguageAndAnyCase) {
  EXPECT_TRUE(is_right("A Red CIRCLE.", kRedCircle));
  EXPECT_TRUE(is_right("一个红色的圆形", kRedCircle));
  EXPECT_FALSE(is_right("a red thing", kRedCircle));
  EXPECT_FALSE(is_right("", kRedCircle));
}

TEST(AttributeRules, RefuseAnotherMemberOfTheSameCategory) {
  EXPECT_FALSE(is_right("a red and blue circle", kRedCircle));
  EXPECT_FALSE(is_right("a red circle, no triangle", kRedCircle));
  EXPECT_TRUE(is_right("a red circle on the left", kRedCircle));
}

TEST(AttributeRules, TwoMembersMayBeRequired) {
  const std::vector<Spellings> both = {{"red"}, {"blue"}};
  EXPECT_TRUE(is_right("one is red, one is blue", both));
  EXPECT_FALSE(is_right("both are red", both));
}

TEST(AttributeRules, LongestSpellingCounts) {
  EXPECT_TRUE(is_right("at the top left", {{"top left"}}));
  EXPECT_FALSE(is_right("at the top left", {{"left"}}));
  EXPECT_FALSE(is_right("at the left", {{"top left"}}));
  EXPECT_FALSE(is_right("椭圆形", {{"圆形"}}));
}

TEST(AttributeRules, AWordDoesNotBeginInsideAnother) {
  EXPECT_FALSE(is_right("a coloured circle", kRedCircle));
  EXPECT_TRUE(is_right("a blue coloured circle", {{"blue"}, {"circle"}}));
  EXPECT_TRUE(is_right("red circles", kRedCircle));
}

TEST(AttributeRules, AFactOutsideTheCategoriesIsJustLookedFor) {
  EXPECT_TRUE(is_right("two dogs", {{"two", "两"}}));
  EXPECT_FALSE(is_right("three dogs", {{"two", "两"}}));
}

TEST(AttributeRules, LoadFindsTheDataFilesPart) {
  const auto path = std::filesystem::temp_directory_path() / ("attributes_" + std::to_string(getpid()) + ".json");
  std::ofstream(path)
      << R"({"held_out.json": {"7": {"required": [["red"]]}}, "categories": {"colour": [["red"], ["blue"]]}})";
  const AttributeRules rules = AttributeRules::load(path, "held_out.json");
  ASSERT_NE(rules.required("7"), nullptr);
  EXPECT_TRUE(rules.is_right("red", *rules.required("7")));
  EXPECT_FALSE(rules.is_right("red or blue", *rules.required("7")));
  EXPECT_EQ(rules.required("8"), nullptr);
  EXPECT_THROW(AttributeRules::load(path, "other.json"), Error);
  std::ofstream(path) << "{\n  \"held_out.json\": nonsense}";
  try {
    AttributeRules::load(path, "held_out.json");
    ADD_FAILURE() << "expected an error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("line 2"), std::string::npos) << error.what();
  }
  std::ofstream(path) << R"({"held_out.json": {"7": {}}, "categories": {}})";
  EXPECT_THROW(AttributeRules::load(path, "held_out.json"), Error);
  std::filesystem::remove(path);
}

TEST(Scores, ExactButForWhiteSpaceAtTheEnds) {
  EXPECT_TRUE(is_exact(" a red circle\n", "a red circle"));
  EXPECT_FALSE(is_exact("A red circle", "a red circle"));
  EXPECT_TRUE(is_exact("", "\n"));
}

TEST(Scores, TokenF1CountsSharedWords) {
  EXPECT_DOUBLE_EQ(token_f1("A red circle.", "a red circle"), 1.0);
  EXPECT_DOUBLE_EQ(token_f1("a red circle", "a blue circle"), 4.0 / 6.0);
  EXPECT_DOUBLE_EQ(token_f1("red", "blue"), 0.0);
  EXPECT_DOUBLE_EQ(token_f1("red red red", "red"), 0.5);
  EXPECT_DOUBLE_EQ(token_f1("", "red"), 0.0);
  EXPECT_DOUBLE_EQ(token_f1("", "。"), 1.0);
}

TEST(Scores, TokenF1TakesChineseCharactersAsWords) {
  EXPECT_DOUBLE_EQ(token_f1("红色的圆形。", "红色的方形"), 0.8);
}

}  // namespace
}  // namespace minimind
