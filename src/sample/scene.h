#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "minimind/base/random.h"
#include "minimind/image/image.h"

namespace minimind::sample {

/// One value of an attribute in both languages.
struct Name {
  std::string english;
  std::string chinese;
};

/// The values of each attribute; scenes hold indices into these lists.
const std::vector<Name>& colour_names();
const std::vector<Name>& shape_names();
const std::vector<Name>& place_names();  ///< 3x3 grid, row by row: top left, top middle, top right, middle left, …

/// One coloured shape. Lengths are in pixels of an image of side kImageSide.
struct SceneObject {
  size_t colour = 0;
  size_t shape = 0;
  double x = 0, y = 0;  ///< centre
  double radius = 0;    ///< half the side of the square that the shape fills
  double angle = 0;     ///< radians
};

/// Where two objects stand: the first left of the second, or above it.
enum class Layout { kSingle, kBeside, kAbove };

struct Scene {
  Layout layout = Layout::kSingle;
  std::vector<SceneObject> objects;
};

inline constexpr size_t kImageSide = 128;

/// Index into place_names() of the grid cell with the object's centre.
size_t place_of(const SceneObject& object);

/// {colour, shape}.
using Combination = std::array<size_t, 2>;

/// The combinations of training and, in the second function, the combinations that training never shows.
std::vector<Combination> training_combinations();
std::vector<Combination> unseen_combinations();

/// A scene of one object, or of two objects that differ in colour and in shape.
Scene random_scene(const std::vector<Combination>& combinations, Layout layout, Random& random);

/// The image: a muted background (plain, gradient or waves), antialiased shapes, and noise over both.
Image draw(const Scene& scene, Random& random);

}  // namespace minimind::sample
