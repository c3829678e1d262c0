#include <gtest/gtest.h>

#include "train/train_state.h"

namespace minimind {
namespace {

TEST(Schedule, GoesFromTheHighestRateToATenthOfIt) {
  const Schedule schedule{4e-4, 0, 100};
  EXPECT_DOUBLE_EQ(schedule.at(0), 4e-4);
  EXPECT_DOUBLE_EQ(schedule.at(50), 4e-5 + 0.5 * (4e-4 - 4e-5));
  EXPECT_GT(schedule.at(99), 4e-5);
  EXPECT_DOUBLE_EQ(schedule.at(100), 4e-5);
  EXPECT_DOUBLE_EQ(schedule.at(1000), 4e-5);
}

TEST(Schedule, WarmsUpInAStraightLineFromZero) {
  const Schedule schedule{1.0, 10, 30};
  EXPECT_DOUBLE_EQ(schedule.at(0), 0.0);
  EXPECT_DOUBLE_EQ(schedule.at(5), 0.5);
  EXPECT_DOUBLE_EQ(schedule.at(10), 1.0);
  EXPECT_DOUBLE_EQ(schedule.at(20), 0.1 + 0.5 * 0.9);
}

}  // namespace
}  // namespace minimind
