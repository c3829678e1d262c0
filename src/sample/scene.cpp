#include "sample/scene.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <span>
#include <stdexcept>

namespace minimind::sample {
namespace {

using Colour = std::array<float, 3>;

// In the order of colour_names().
constexpr std::array<Colour, 8> kColours = {{{220, 40, 40},
                                             {245, 140, 20},
                                             {240, 225, 40},
                                             {40, 170, 60},
                                             {40, 205, 215},
                                             {40, 80, 220},
                                             {140, 50, 190},
                                             {250, 130, 190}}};

// The shape that training never shows in each colour. Every shape and every colour still occurs in training.
constexpr std::array<size_t, 8> kHeldBackShape = {3, 0, 4, 1, 5, 2, 0, 3};

// Noise from the sum of two random bytes: its triangular distribution is close to normal and much faster. One random
// number gives four values.
class NoiseSource {
 public:
  explicit NoiseSource(Random& random) : random_(random) {}
  /// A value with mean 0 and standard deviation 1.
  float next() {
    if (left_ == 0) {
      bits_ = random_.next();
      left_ = 4;
    }
    auto sum = static_cast<float>((bits_ & 255U) + ((bits_ >> 8U) & 255U));
    bits_ >>= 16U;
    --left_;
    return (sum - 255.0F) * (1 / 104.5F);
  }

 private:
  Random& random_;
  uint64_t bits_ = 0;
  int left_ = 0;
};

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

Colour mix(const Colour& a, const Colour& b, float t) {
  return {a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t};
}

Colour jittered(const Colour& colour, double amount, Random& random) {
  Colour out = colour;
  for (float& channel : out) {
    channel += static_cast<float>(random.uniform(-amount, amount));
  }
  return out;
}

// Row-major image of kImageSide x kImageSide.
using Canvas = std::vector<Colour>;

// Fills with a plain colour, a gradient or waves, muted so that the eight colours of the shapes stand out.
void fill_background(Canvas& canvas, Random& random) {
  auto grey = static_cast<float>(random.uniform(60, 210));
  Colour first = jittered({grey, grey, grey}, 20, random);
  auto step = static_cast<float>(random.uniform(-40, 40));
  Colour second = jittered({first[0] + step, first[1] + step, first[2] + step}, 10, random);
  uint64_t kind = random.below(3);
  double angle = random.uniform(0, 2 * std::numbers::pi);
  auto waves = static_cast<float>(2 * std::numbers::pi * random.uniform(2, 8));
  constexpr double kSide = kImageSide;
  auto across = static_cast<float>(std::cos(angle) / kSide);
  auto down = static_cast<float>(std::sin(angle) / kSide);
  for (size_t y = 0; y < kImageSide; ++y) {
    for (size_t x = 0; x < kImageSide; ++x) {
      float along = (static_cast<float>(x) - 63.5F) * across + (static_cast<float>(y) - 63.5F) * down;
      float share = kind == 0 ? 0.0F : (kind == 1 ? along + 0.5F : 0.5F + 0.25F * std::sin(waves * along));
      canvas[y * kImageSide + x] = mix(first, second, share);
    }
  }
}

// Draws a shape. The distance to the outline gives the covered share of an edge pixel.
void paint(Canvas& canvas, const SceneObject& object, const Colour& colour) {
  double reach = object.radius * kShapeReach + 1;
  auto bound = [](double position) {
    return static_cast<size_t>(std::clamp<int64_t>(std::llround(position), 0, kImageSide));
  };
  double cosine = std::cos(object.angle) / object.radius, sine = std::sin(object.angle) / object.radius;
  for (size_t y = bound(object.y - reach); y < bound(object.y + reach); ++y) {
    for (size_t x = bound(object.x - reach); x < bound(object.x + reach); ++x) {
      double dx = static_cast<double>(x) + 0.5 - object.x;
      double dy = static_cast<double>(y) + 0.5 - object.y;
      double distance = signed_distance(object.shape, dx * cosine + dy * sine, dy * cosine - dx * sine);
      double cover = std::clamp(0.5 - distance * object.radius, 0.0, 1.0);
      if (cover > 0) {
        Colour& pixel = canvas[y * kImageSide + x];
        pixel = mix(pixel, colour, static_cast<float>(cover));
      }
    }
  }
}

// A coordinate that is not close to the border of two cells of place_of().
double clear_position(double radius, Random& random) {
  constexpr double kThird = kImageSide / 3.0, kMargin = 4;
  double position = kThird;
  while (std::abs(position - kThird) < kMargin || std::abs(position - 2 * kThird) < kMargin) {
    position = random.uniform(radius, kImageSide - radius);
  }
  return position;
}

SceneObject random_object(const Combination& combination, double smallest, double largest, Random& random) {
  SceneObject object;
  object.colour = combination[0];
  object.shape = combination[1];
  object.radius = random.uniform(smallest, largest);
  object.angle = random.uniform(-0.25, 0.25);
  object.x = clear_position(object.radius, random);
  object.y = clear_position(object.radius, random);
  return object;
}

}  // namespace

const std::vector<Alternatives>& colour_names() {
  static const std::vector<Alternatives> names = {{"red", "红色"},    {"orange", "橙色"}, {"yellow", "黄色"},
                                                  {"green", "绿色"},  {"cyan", "青色"},   {"blue", "蓝色"},
                                                  {"purple", "紫色"}, {"pink", "粉色"}};
  return names;
}

const std::vector<Alternatives>& shape_names() {
  static const std::vector<Alternatives> names = {{"circle", "圆形"}, {"square", "正方形"}, {"triangle", "三角形"},
                                                  {"star", "星形"},   {"cross", "十字"},    {"ring", "圆环"}};
  return names;
}

const std::vector<Alternatives>& place_names() {
  static const std::vector<Alternatives> names = {
      {"top left", "左上角"},    {"top middle", "上方"},    {"top right", "右上角"},
      {"middle left", "左侧"},   {"centre", "中央"},        {"middle right", "右侧"},
      {"bottom left", "左下角"}, {"bottom middle", "下方"}, {"bottom right", "右下角"}};
  return names;
}

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

size_t place_of(const SceneObject& object) {
  auto third = [](double value) { return static_cast<size_t>(std::clamp(value * 3 / kImageSide, 0.0, 2.0)); };
  return third(object.y) * 3 + third(object.x);
}

std::vector<Combination> training_combinations() {
  std::vector<Combination> combinations;
  for (size_t colour = 0; colour < colour_names().size(); ++colour) {
    for (size_t shape = 0; shape < shape_names().size(); ++shape) {
      if (kHeldBackShape[colour] != shape) {
        combinations.push_back({colour, shape});
      }
    }
  }
  return combinations;
}

std::vector<Combination> unseen_combinations() {
  std::vector<Combination> combinations;
  for (size_t colour = 0; colour < kHeldBackShape.size(); ++colour) {
    combinations.push_back({colour, kHeldBackShape[colour]});
  }
  return combinations;
}

Scene random_scene(const std::vector<Combination>& combinations, Layout layout, Random& random) {
  Combination first = random.choice(combinations);
  if (layout == Layout::kSingle) {
    return {layout, {random_object(first, 26, 46, random)}};
  }
  Combination second = first;
  while (second[0] == first[0] || second[1] == first[1]) {
    second = random.choice(combinations);
  }
  Scene scene{layout, {}};
  scene.objects.push_back(random_object(first, 22, 30, random));
  scene.objects.push_back(random_object(second, 22, 30, random));
  constexpr double kHalf = kImageSide / 2.0;
  double start = 0;
  for (SceneObject& object : scene.objects) {
    double& along = layout == Layout::kBeside ? object.x : object.y;
    along = random.uniform(object.radius, kHalf - object.radius) + start;
    start += kHalf;
  }
  return scene;
}

Image draw(const Scene& scene, Random& random) {
  Canvas canvas(kImageSide * kImageSide);
  fill_background(canvas, random);
  for (const SceneObject& object : scene.objects) {
    paint(canvas, object, jittered(kColours[object.colour], 15, random));
  }
  auto strength = static_cast<float>(random.uniform(2, 12));
  NoiseSource noise(random);
  Image image{kImageSide, kImageSide, std::vector<uint8_t>(canvas.size() * 3)};
  uint8_t* out = image.pixels.data();
  for (const Colour& pixel : canvas) {
    for (float channel : pixel) {
      *out++ = static_cast<uint8_t>(std::clamp(channel + strength * noise.next() + 0.5F, 0.0F, 255.0F));
    }
  }
  return image;
}

}  // namespace minimind::sample
