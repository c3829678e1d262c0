#include "support/tensor_matcher.h"

#include <cmath>

namespace minimind::testing {
namespace {

TEST(TensorMatcher, AcceptsTensorsWithinTheTolerance) {
  EXPECT_TRUE(is_near(at::full({2, 3}, 1.0), at::full({2, 3}, 1.25), 0.25));
}

TEST(TensorMatcher, ShowsTheFirstAndTheLargestDifference) {
  at::Tensor actual = at::zeros({2, 3});
  actual[0][2] = 0.5;
  actual[1][1] = -2.0;
  const ::testing::AssertionResult result = is_near(actual, at::zeros({2, 3}), 0.25);
  EXPECT_FALSE(result);
  EXPECT_STREQ(result.message(),
               "2 of 6 elements differ by more than 0.25 (shape [2, 3], float); first at [0, 2]: expected 0, found "
               "0.5; largest gap 2 at [1, 1]: expected 0, found -2");
}

TEST(TensorMatcher, RefusesNanAndOtherShapes) {
  EXPECT_FALSE(is_near(at::full({1}, std::nan("")), at::zeros({1}), 1.0));
  EXPECT_STREQ(is_near(at::zeros({2}), at::zeros({1, 2}), 1.0).message(), "expected shape [1, 2], found [2]");
}

}  // namespace
}  // namespace minimind::testing
