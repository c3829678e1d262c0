#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "minimind/base/random.h"
#include "minimind/image/image.h"

namespace minimind::sample {

/// One value of an attribute, in both languages.
struct Name {
  std::string english;
  std::string chinese;
};

/// The values of each attribute; scenes hold indices into these.
const std::vector<Name>& colour_names();
const std::vector<Name>& shape_names();
const std::vector<Name>& place_names();  ///< row-major 3x3 grid: top left, top, top right, left, centre, …

/// One coloured shape. Lengths are in pixels of an image of kImageSide.
struct SceneObject {
  int64_t colour = 0;
  int64_t shape = 0;
  double x = 0, y = 0;  ///< centre
  double radius = 0;    ///< half the side of the square that the shape fills
  double angle = 0;     ///< radians
};

enum class Layout { kSingle, kBeside, kAbove };  ///< two objects: first left of, or above, the second

struct Scene {
  Layout layout = Layout::kSingle;
  std::vector<SceneObject> objects;
};

inline constexpr int64_t kImageSide = 128;

/// Cell of the 3x3 grid in which the object's centre lies: index into place_names().
int64_t place_of(const SceneObject& object);

/// Which colour-shape combinations may be drawn: the held-back ones never occur in training.
struct Combinations {
  std::vector<std::array<int64_t, 2>> allowed;  ///< {colour, shape}
};
Combinations training_combinations();
Combinations unseen_combinations();

/// A scene of one object or of two that differ in colour and in shape.
Scene random_scene(const Combinations& combinations, Layout layout, Random& random);

/// The image: a background (plain, gradient or waves, muted), the shapes with antialiased edges, noise on top.
Image draw(const Scene& scene, Random& random);

}  // namespace minimind::sample
