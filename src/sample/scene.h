#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "minimind/base/random.h"
#include "minimind/image/image.h"

namespace minimind::sample {

/// The spellings of one fact: in English, in Chinese. An answer that holds one of them names the fact.
using Alternatives = std::vector<std::string>;

/// The values of each attribute; scenes hold indices into these lists.
const std::vector<Alternatives>& colour_names();
const std::vector<Alternatives>& shape_names();
const std::vector<Alternatives>&
place_names();  ///< 3x3 grid, row by row: top left, top middle, top right, middle left, …

/// The largest distance of any shape's outline from its centre.
inline constexpr double kShapeReach = 1.22;

/// Signed distance, negative inside, from the point (x, y) to the outline of a shape that fills the square [-1, 1]^2.
/// `shape` is an index into shape_names().
double signed_distance(size_t shape, double x, double y);

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
