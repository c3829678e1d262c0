#pragma once

#include <cstdint>

namespace minimind::sample {

/// Signed distance (negative inside) from the point (x, y) to the outline of a shape that fills the square [-1, 1]^2.
/// `shape` is an index into shape_names().
double signed_distance(int64_t shape, double x, double y);

}  // namespace minimind::sample
