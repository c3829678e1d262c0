#include "sample/scene.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "sample/shapes.h"

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

// One shape for each colour is held back; every shape and every colour still occurs in training.
constexpr std::array<int64_t, 8> kHeldBackShape = {3, 0, 4, 1, 5, 2, 0, 3};

// Four draws of noise at a time: the sum of two bytes is triangular, which is near enough to a bell and much faster.
class NoiseSource {
 public:
  explicit NoiseSource(Random& random) : random_(random) {}
  /// Mean 0, standard deviation 1.
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

// Muted, so that the eight colours of the shapes stand out: plain, gradient or waves.
void fill_background(std::vector<Colour>& canvas, Random& random) {
  auto grey = static_cast<float>(random.uniform(60, 210));
  Colour first = jittered({grey, grey, grey}, 20, random);
  auto step = static_cast<float>(random.uniform(-40, 40));
  Colour second = jittered({first[0] + step, first[1] + step, first[2] + step}, 10, random);
  uint64_t kind = random.below(3);
  double angle = random.uniform(0, 2 * std::numbers::pi);
  auto waves = static_cast<float>(2 * std::numbers::pi * random.uniform(2, 8));
  auto across = static_cast<float>(std::cos(angle) / kImageSide);
  auto down = static_cast<float>(std::sin(angle) / kImageSide);
  for (int64_t y = 0; y < kImageSide; ++y) {
    for (int64_t x = 0; x < kImageSide; ++x) {
      float along = (static_cast<float>(x) - 63.5F) * across + (static_cast<float>(y) - 63.5F) * down;
      float share = kind == 0 ? 0.0F : (kind == 1 ? along + 0.5F : 0.5F + 0.25F * std::sin(waves * along));
      canvas[y * kImageSide + x] = mix(first, second, share);
    }
  }
}

// An edge pixel is covered in part: antialiasing out of the distance to the outline.
void paint(std::vector<Colour>& canvas, const SceneObject& object, const Colour& colour) {
  double reach = object.radius * kShapeReach + 1;
  auto first = [&](double centre) { return std::clamp<int64_t>(std::llround(centre - reach), 0, kImageSide); };
  auto last = [&](double centre) { return std::clamp<int64_t>(std::llround(centre + reach), 0, kImageSide); };
  double cosine = std::cos(object.angle) / object.radius, sine = std::sin(object.angle) / object.radius;
  for (int64_t y = first(object.y); y < last(object.y); ++y) {
    for (int64_t x = first(object.x); x < last(object.x); ++x) {
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

// Not within a hair's breadth of two cells of place_of().
double clear_position(double radius, Random& random) {
  constexpr double kThird = kImageSide / 3.0, kMargin = 4;
  double position = kThird;
  while (std::abs(position - kThird) < kMargin || std::abs(position - 2 * kThird) < kMargin) {
    position = random.uniform(radius, kImageSide - radius);
  }
  return position;
}

SceneObject random_object(const std::array<int64_t, 2>& combination, double smallest, double largest, Random& random) {
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

const std::vector<Name>& colour_names() {
  static const std::vector<Name> names = {{"red", "红色"},  {"orange", "橙色"}, {"yellow", "黄色"}, {"green", "绿色"},
                                          {"cyan", "青色"}, {"blue", "蓝色"},   {"purple", "紫色"}, {"pink", "粉色"}};
  return names;
}

const std::vector<Name>& shape_names() {
  static const std::vector<Name> names = {{"circle", "圆形"}, {"square", "正方形"}, {"triangle", "三角形"},
                                          {"star", "星形"},   {"cross", "十字"},    {"ring", "圆环"}};
  return names;
}

const std::vector<Name>& place_names() {
  static const std::vector<Name> names = {
      {"top left", "左上角"},    {"top middle", "上方"},    {"top right", "右上角"},
      {"middle left", "左侧"},   {"centre", "中央"},        {"middle right", "右侧"},
      {"bottom left", "左下角"}, {"bottom middle", "下方"}, {"bottom right", "右下角"}};
  return names;
}

int64_t place_of(const SceneObject& object) {
  auto third = [](double value) { return std::clamp<int64_t>(static_cast<int64_t>(value * 3 / kImageSide), 0, 2); };
  return third(object.y) * 3 + third(object.x);
}

Combinations training_combinations() {
  Combinations combinations;
  for (int64_t colour = 0; colour < static_cast<int64_t>(colour_names().size()); ++colour) {
    for (int64_t shape = 0; shape < static_cast<int64_t>(shape_names().size()); ++shape) {
      if (kHeldBackShape[colour] != shape) {
        combinations.allowed.push_back({colour, shape});
      }
    }
  }
  return combinations;
}

Combinations unseen_combinations() {
  Combinations combinations;
  for (size_t colour = 0; colour < kHeldBackShape.size(); ++colour) {
    combinations.allowed.push_back({static_cast<int64_t>(colour), kHeldBackShape[colour]});
  }
  return combinations;
}

Scene random_scene(const Combinations& combinations, Layout layout, Random& random) {
  Scene scene{layout, {}};
  std::array<int64_t, 2> first = random.choice(combinations.allowed);
  if (layout == Layout::kSingle) {
    scene.objects.push_back(random_object(first, 26, 46, random));
    return scene;
  }
  std::array<int64_t, 2> second = first;
  while (second[0] == first[0] || second[1] == first[1]) {
    second = random.choice(combinations.allowed);
  }
  scene.objects = {random_object(first, 22, 30, random), random_object(second, 22, 30, random)};
  constexpr double kHalf = kImageSide / 2.0;
  for (int i = 0; i < 2; ++i) {
    SceneObject& object = scene.objects[i];
    double& along = layout == Layout::kBeside ? object.x : object.y;
    along = random.uniform(object.radius, kHalf - object.radius) + i * kHalf;
  }
  return scene;
}

Image draw(const Scene& scene, Random& random) {
  std::vector<Colour> canvas(kImageSide * kImageSide);
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
