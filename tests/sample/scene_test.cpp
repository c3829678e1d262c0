#include "sample/scene.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

namespace minimind::sample {
namespace {

Scene one_object(size_t colour, size_t shape) {
  return {Layout::kSingle, {{.colour = colour, .shape = shape, .x = 64, .y = 64, .radius = 40, .angle = 0}}};
}

std::array<double, 3> mean_colour(const Image& image, int64_t left, int64_t top, int64_t side) {
  std::array<double, 3> mean = {};
  for (int64_t y = top; y < top + side; ++y) {
    for (int64_t x = left; x < left + side; ++x) {
      for (int64_t c = 0; c < 3; ++c) {
        mean[c] += image.pixels[(y * image.width + x) * 3 + c] / static_cast<double>(side * side);
      }
    }
  }
  return mean;
}

TEST(Scene, HasEightColoursAndSixShapes) {
  EXPECT_GE(colour_names().size(), 8U);
  EXPECT_GE(shape_names().size(), 6U);
}

TEST(Scene, UnseenCombinationsAreThoseThatTrainingLeavesOut) {
  std::set<Combination> seen, unseen;
  for (const Combination& combination : training_combinations()) {
    seen.insert(combination);
  }
  for (const Combination& combination : unseen_combinations()) {
    unseen.insert(combination);
    EXPECT_EQ(seen.count(combination), 0U);
  }
  EXPECT_EQ(seen.size() + unseen.size(), colour_names().size() * shape_names().size());
  std::set<int64_t> colours, shapes;
  for (const auto& [colour, shape] : seen) {
    colours.insert(colour);
    shapes.insert(shape);
  }
  EXPECT_EQ(colours.size(), colour_names().size());
  EXPECT_EQ(shapes.size(), shape_names().size());
}

TEST(Scene, TwoObjectsDifferInColourAndShapeAndKeepToTheirSides) {
  Random random(7);
  for (int i = 0; i < 200; ++i) {
    bool beside = i % 2 == 0;
    Scene scene = random_scene(training_combinations(), beside ? Layout::kBeside : Layout::kAbove, random);
    ASSERT_EQ(scene.objects.size(), 2U);
    const SceneObject& first = scene.objects[0];
    const SceneObject& second = scene.objects[1];
    EXPECT_NE(first.colour, second.colour);
    EXPECT_NE(first.shape, second.shape);
    double a = beside ? first.x : first.y, b = beside ? second.x : second.y;
    EXPECT_LE(a + first.radius, kImageSide / 2.0);
    EXPECT_GE(b - second.radius, kImageSide / 2.0);
  }
}

TEST(Scene, ObjectsLieInsideTheImageAndAwayFromTheBordersOfPlaces) {
  Random random(8);
  std::set<int64_t> places;
  for (int i = 0; i < 2000; ++i) {
    SceneObject object = random_scene(training_combinations(), Layout::kSingle, random).objects[0];
    for (double position : {object.x, object.y}) {
      EXPECT_GE(position - object.radius, 0);
      EXPECT_LE(position + object.radius, kImageSide);
      EXPECT_GE(std::abs(position - kImageSide / 3.0), 4);
      EXPECT_GE(std::abs(position - kImageSide * 2 / 3.0), 4);
    }
    places.insert(place_of(object));
  }
  EXPECT_EQ(places.size(), place_names().size());
}

TEST(Scene, ImageIsTheSameForTheSameSeedAndAnotherForAnother) {
  Scene scene = one_object(0, 3);
  Random first(1, 5), again(1, 5), other(1, 6);
  Image image = draw(scene, first);
  EXPECT_EQ(image.pixels, draw(scene, again).pixels);
  EXPECT_NE(image.pixels, draw(scene, other).pixels);
}

TEST(Scene, ShapeShowsItsColourOnAMutedBackground) {
  Random random(3);
  for (size_t colour = 0; colour < colour_names().size(); ++colour) {
    Image image = draw(one_object(colour, 0), random);
    auto spread = [](const std::array<double, 3>& rgb) {
      return *std::max_element(rgb.begin(), rgb.end()) - *std::min_element(rgb.begin(), rgb.end());
    };
    EXPECT_GT(spread(mean_colour(image, 56, 56, 16)), 75) << colour_names()[colour][0];
    EXPECT_LT(spread(mean_colour(image, 0, 0, 16)), 75) << colour_names()[colour][0];
  }
}

TEST(Scene, ShapesAreToldApartByWhatTheyCover) {
  // The centre, two edges and two corners of the square [-0.7, 0.7]^2, where a star has an arm, and between a cross's
  // arms.
  auto inside = [](size_t shape, double x, double y) { return signed_distance(shape, x, y) < 0; };
  auto signature = [&](size_t shape) {
    return std::array<bool, 7>{inside(shape, 0, 0),     inside(shape, 0, -0.7),   inside(shape, 0.7, 0),
                               inside(shape, 0.7, 0.7), inside(shape, 0.7, -0.7), inside(shape, 0.7, -0.25),
                               inside(shape, 0.5, 0.5)};
  };
  std::set<std::array<bool, 7>> signatures;
  for (size_t shape = 0; shape < shape_names().size(); ++shape) {
    signatures.insert(signature(shape));
  }
  EXPECT_EQ(signatures.size(), shape_names().size());
  EXPECT_THROW(signed_distance(shape_names().size(), 0, 0), std::logic_error);
}

TEST(Scene, DistanceIsMeasuredToTheOutline) {
  EXPECT_NEAR(signed_distance(0, 0, 0), -0.9, 1e-12);    // circle
  EXPECT_NEAR(signed_distance(1, 1.0, 0), 0.2, 1e-12);   // square
  EXPECT_NEAR(signed_distance(2, 0, 1.0), 0.25, 1e-12);  // triangle, below its base
  EXPECT_NEAR(signed_distance(4, 0.5, 0), -0.3, 1e-12);  // cross, inside an arm
  EXPECT_NEAR(signed_distance(5, 0, 0), 0.43, 1e-12);    // ring, in its hole
}

TEST(Scene, NoShapeReachesFurtherThanItsBound) {
  for (size_t shape = 0; shape < shape_names().size(); ++shape) {
    for (int degree = 0; degree < 360; ++degree) {
      double angle = degree * 3.14159265358979 / 180;
      EXPECT_GT(signed_distance(shape, kShapeReach * std::cos(angle), kShapeReach * std::sin(angle)), 0)
          << shape_names()[shape][0] << " at " << degree;
    }
  }
}

}  // namespace
}  // namespace minimind::sample
