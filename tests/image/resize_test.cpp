#include "minimind/image/resize.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "image/resize_kernels.h"
#include "image/sample_images.h"
#include "minimind/base/error.h"

namespace minimind {
namespace {

struct Shape {
  int64_t in_width;
  int64_t in_height;
  int64_t width;
  int64_t height;
};

/// Enlarging, shrinking, mixed, equal; sides on both sides of every block size of the kernels.
std::vector<Shape> many_shapes() {
  std::vector<Shape> shapes = {{1, 1, 224, 224},     {12'000, 40, 224, 224}, {40, 12'000, 224, 224},
                               {128, 128, 224, 224}, {640, 427, 224, 224},   {5, 3, 5, 3},
                               {7, 9, 7, 20},        {7, 9, 20, 9},          {3, 500, 40, 20},
                               {224, 500, 223, 225}, {65'535, 1, 3, 3},      {2, 65'535, 1, 1}};
  for (int64_t side = 1; side <= 40; ++side) {
    shapes.push_back({side, 41 - side, side * 7 % 43 + 1, side * 11 % 37 + 1});
    shapes.push_back({50, 30, side, 41 - side});
    shapes.push_back({3, 40 * side, side, side + 3});
  }
  return shapes;
}

std::vector<uint8_t> planar_of(const Image& image) {
  const size_t pixels = image.pixels.size() / 3;
  std::vector<uint8_t> planar(image.pixels.size());
  for (size_t i = 0; i < planar.size(); ++i) {
    planar[i % 3 * pixels + i / 3] = image.pixels[i];
  }
  return planar;
}

TEST(ResizeBicubic, EqualsPillowOnASmallImage) {
  const Image image{3, 2, {0, 10, 255, 255, 20, 0, 40, 200, 90, 7, 77, 177, 250, 250, 3, 128, 64, 32}};
  const std::vector<uint8_t> larger = {0, 5,  255, 99, 0,   165, 255, 5,   0, 123, 137, 49, 18,  225, 101,
                                       0, 37, 223, 99, 76,  139, 253, 135, 2, 155, 137, 31, 72,  132, 66,
                                       0, 68, 186, 98, 155, 112, 250, 255, 3, 186, 137, 12, 125, 39,  30};
  EXPECT_EQ(resize_bicubic(image, 5, 3).pixels, larger);
  const std::vector<uint8_t> smaller = {98, 76, 139, 153, 137, 32};
  EXPECT_EQ(resize_bicubic(image, 2, 1).pixels, smaller);
}

TEST(ResizeBicubic, CopiesAnImageOfTheSameSize) {
  for (int64_t side = 1; side < 40; ++side) {
    const Image image = testing::noise_image(side, 41 - side, 5);
    EXPECT_EQ(resize_bicubic(image, side, 41 - side).pixels, image.pixels);
  }
}

TEST(ResizeBicubic, KeepsAFlatImageFlat) {
  for (const Shape& shape : many_shapes()) {
    const Image image{shape.in_width, shape.in_height,
                      std::vector<uint8_t>(static_cast<size_t>(shape.in_width * shape.in_height * 3), 201)};
    const Image resized = resize_bicubic(image, shape.width, shape.height);
    EXPECT_TRUE(std::all_of(resized.pixels.begin(), resized.pixels.end(), [](uint8_t value) { return value == 201; }))
        << shape.in_width << "x" << shape.in_height;
  }
}

TEST(ResizeBicubic, RoundsBetweenThePassesInPillowsOrder) {
  const auto across_first = [](const Image& image, int64_t width, int64_t height) {
    return resize_bicubic(resize_bicubic(image, width, image.height), width, height).pixels;
  };
  const auto down_first = [](const Image& image, int64_t width, int64_t height) {
    return resize_bicubic(resize_bicubic(image, image.width, height), width, height).pixels;
  };
  // The height shrinks by 100, more than twice the 49 of the width.
  const Image tall = testing::noise_image(99, 150, 2);
  EXPECT_EQ(resize_bicubic(tall, 50, 50).pixels, down_first(tall, 50, 50));
  EXPECT_NE(resize_bicubic(tall, 50, 50).pixels, across_first(tall, 50, 50));
  // By 100, not more than twice the 50.
  const Image less = testing::noise_image(100, 150, 2);
  EXPECT_EQ(resize_bicubic(less, 50, 50).pixels, across_first(less, 50, 50));
  EXPECT_NE(resize_bicubic(less, 50, 50).pixels, down_first(less, 50, 50));
}

TEST(ResizeBicubic, RefusesSidesThatDoNotExist) {
  const Image image = testing::noise_image(2, 2, 1);
  EXPECT_THROW(resize_bicubic(image, 0, 5), Error);
  EXPECT_THROW(resize_bicubic(image, 5, -1), Error);
  EXPECT_THROW(resize_bicubic(image, 5, 65'536), Error);
  EXPECT_THROW(resize_bicubic(Image{}, 5, 5), std::logic_error);
  EXPECT_THROW(resize_bicubic(Image{2, 2, std::vector<uint8_t>(11)}, 5, 5), std::logic_error);
}

TEST(ResizeToPlanar, HasTheBytesOfTheInterleavedImage) {
  for (const int64_t size : {1, 5, 16, 33, 224}) {
    for (const auto& [width, height] : {std::pair{1, 1}, {128, 128}, {40, 700}, {700, 40}, {2, 3}}) {
      const Image image = testing::noise_image(width, height, 9);
      std::vector<uint8_t> planar(static_cast<size_t>(3 * size * size) + 8, 0xAB);
      resize_to_planar(image, size, planar.data());
      for (size_t i = planar.size() - 8; i < planar.size(); ++i) {
        ASSERT_EQ(planar[i], 0xAB) << "written behind the end";
      }
      planar.resize(planar.size() - 8);
      EXPECT_EQ(planar, planar_of(resize_bicubic(image, size, size))) << width << "x" << height << " to " << size;
    }
  }
}

TEST(ResizeKernels, GiveEqualBytesInEveryVariant) {
  const detail::ResizeKernels* avx2 = detail::avx2_resize();
  if (avx2 == nullptr) {
    GTEST_SKIP() << "NOT RUN: this processor has no AVX2";
  }
  EXPECT_EQ(&detail::best_resize(), avx2);
  for (const Shape& shape : many_shapes()) {
    const Image image = testing::noise_image(shape.in_width, shape.in_height, 4);
    std::vector<uint8_t> plain(static_cast<size_t>(3 * shape.width * shape.height)), fast(plain.size());
    detail::resize_planar(image, shape.width, shape.height, plain.data(), detail::kScalarResize);
    detail::resize_planar(image, shape.width, shape.height, fast.data(), *avx2);
    ASSERT_EQ(plain, fast) << shape.in_width << "x" << shape.in_height << " to " << shape.width << "x" << shape.height;
  }
}

TEST(ResizeBicubic, GivesTheSameFromManyThreads) {
  std::vector<std::vector<uint8_t>> expected;
  for (int64_t side = 1; side <= 100; ++side) {
    expected.push_back(resize_bicubic(testing::noise_image(side, side, 6), 17, 19).pixels);
  }
  std::vector<int> different(4, 0);
  std::vector<std::thread> threads;
  for (int& count : different) {
    threads.emplace_back([&] {
      for (int64_t side = 1; side <= 100; ++side) {
        const Image image = testing::noise_image(side, side, 6);
        count += resize_bicubic(image, 17, 19).pixels != expected[static_cast<size_t>(side - 1)] ? 1 : 0;
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(different, std::vector<int>(4, 0));
}

}  // namespace
}  // namespace minimind
