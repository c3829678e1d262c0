#include <gtest/gtest.h>

#include "web/answer_writer.h"

namespace minimind {
namespace {

/// What is shown of pieces, a bar behind each.
std::string shown(const std::vector<std::string>& stops, const std::vector<std::string>& pieces) {
  StopMatcher matcher(stops);
  std::string text;
  for (const std::string& piece : pieces) {
    text += matcher.push(piece) + "|";
  }
  return text + matcher.finish();
}

TEST(StopMatcher, ShowsEverythingWithoutStops) {
  EXPECT_EQ(shown({}, {"a", "bc"}), "a|bc|");
}

TEST(StopMatcher, CutsBeforeAStopThatSpansPieces) {
  EXPECT_EQ(shown({"END"}, {"xE", "N", "D more"}), "x|||");
  EXPECT_EQ(shown({"END"}, {"xENDy", "z"}), "x||");
}

TEST(StopMatcher, GivesBackWhatTurnedOutToBeNoStop) {
  EXPECT_EQ(shown({"END"}, {"xEN", "x"}), "x|ENx|");
  EXPECT_EQ(shown({"END"}, {"xEN"}), "x|EN");
  EXPECT_EQ(shown({"aab"}, {"aa", "a", "b"}), "|a||");
}

TEST(StopMatcher, CutsAtTheFirstOfSeveralStops) {
  EXPECT_EQ(shown({"cd", "b"}, {"abcd"}), "a|");
  EXPECT_EQ(shown({"bcd", "c"}, {"ab", "cx"}), "a|b|");
}

}  // namespace
}  // namespace minimind
