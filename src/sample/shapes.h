#pragma once

#include <cstddef>

namespace minimind::sample {

/// The largest distance of any shape's outline from its centre.
inline constexpr double kShapeReach = 1.22;

/// Signed distance, negative inside, from the point (x, y) to the outline of a shape that fills the square [-1, 1]^2.
/// `shape` is an index into shape_names().
double signed_distance(size_t shape, double x, double y);

}  // namespace minimind::sample
