#include "sample/shapes.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>
#include <span>
#include <stdexcept>
#include <vector>

namespace minimind::sample {
namespace {

using Point = std::array<double, 2>;

double box_distance(double x, double y, double half_width, double half_height) {
  double dx = std::abs(x) - half_width;
  double dy = std::abs(y) - half_height;
  return std::hypot(std::max(dx, 0.0), std::max(dy, 0.0)) + std::min(std::max(dx, dy), 0.0);
}

// The nearest edge gives the distance, the even-odd rule the sign.
double polygon_distance(std::span<const Point> corners, double x, double y) {
  double nearest = std::numeric_limits<double>::max();
  bool inside = false;
  for (size_t i = 0, j = corners.size() - 1; i < corners.size(); j = i++) {
    auto [ax, ay] = corners[i];
    auto [bx, by] = corners[j];
    double ex = bx - ax, ey = by - ay;
    double t = std::clamp(((x - ax) * ex + (y - ay) * ey) / (ex * ex + ey * ey), 0.0, 1.0);
    double dx = x - ax - t * ex, dy = y - ay - t * ey;
    nearest = std::min(nearest, dx * dx + dy * dy);
    if ((ay > y) != (by > y) && x < ax + (y - ay) / (by - ay) * (bx - ax)) {
      inside = !inside;
    }
  }
  return inside ? -std::sqrt(nearest) : std::sqrt(nearest);
}

std::vector<Point> star_corners() {
  std::vector<Point> corners;
  for (int i = 0; i < 10; ++i) {
    double radius = i % 2 == 0 ? 1.05 : 0.42;
    double angle = std::numbers::pi * (i / 5.0 - 0.5);
    corners.push_back({radius * std::cos(angle), radius * std::sin(angle)});
  }
  return corners;
}

}  // namespace

double signed_distance(size_t shape, double x, double y) {
  static const std::vector<Point> triangle = {{0.0, -0.95}, {0.95, 0.75}, {-0.95, 0.75}};
  static const std::vector<Point> star = star_corners();
  switch (shape) {
    case 0:
      return std::hypot(x, y) - 0.9;
    case 1:
      return box_distance(x, y, 0.8, 0.8);
    case 2:
      return polygon_distance(triangle, x, y);
    case 3:
      return polygon_distance(star, x, y);
    case 4:
      return std::min(box_distance(x, y, 0.95, 0.3), box_distance(x, y, 0.3, 0.95));
    case 5:
      return std::abs(std::hypot(x, y) - 0.68) - 0.25;
    default:
      throw std::logic_error("signed_distance: no such shape");
  }
}

}  // namespace minimind::sample
