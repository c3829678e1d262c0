#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "minimind/base/error.h"
#include "minimind/image/decode.h"
#include "minimind/image/resize.h"
#include "support/fixtures.h"
#include "support/safetensors_view.h"

namespace minimind {
namespace {

std::string_view view_of(const std::vector<uint8_t>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// "equal", or how far two blocks of bytes are apart.
std::string comparison(std::string_view ours, std::string_view expected) {
  if (ours.size() != expected.size()) {
    return concat(ours.size(), " bytes, expected ", expected.size());
  }
  size_t different = 0;
  int largest = 0;
  for (size_t i = 0; i < ours.size(); ++i) {
    const int gap = static_cast<uint8_t>(ours[i]) - static_cast<uint8_t>(expected[i]);
    different += gap != 0 ? 1 : 0;
    largest = std::max(largest, std::abs(gap));
  }
  return different == 0 ? "equal" : concat(different, " bytes differ, at most by ", largest);
}

void check_resized(const Image& image, const testing::TensorView& expected) {
  ASSERT_EQ(expected.dtype, "U8");
  ASSERT_EQ(expected.shape.size(), 3U);
  ASSERT_EQ(expected.shape[0], 3);
  ASSERT_EQ(expected.shape[1], expected.shape[2]);
  std::vector<uint8_t> planar(expected.bytes.size());
  resize_to_planar(image, expected.shape[1], planar.data());
  EXPECT_EQ(comparison(view_of(planar), expected.bytes), "equal");
}

/// Pillow's bytes before the resize, in the file's own mode: grey, or colour perhaps with alpha.
void check_decoded(const Image& image, const testing::TensorView& expected, const std::string& mode) {
  const size_t channels = mode == "L" ? 1 : mode == "LA" ? 2 : mode == "RGB" ? 3 : mode == "RGBA" ? 4 : 0;
  if (channels == 0) {
    return;  // Palette indices or inks: not what our decoder gives.
  }
  const size_t pixels = image.pixels.size() / 3;
  ASSERT_EQ(expected.bytes.size(), pixels * channels);
  std::string colors;
  for (size_t i = 0; i < pixels; ++i) {
    for (size_t c = 0; c < 3; ++c) {
      colors += expected.bytes[i * channels + (channels < 3 ? 0 : c)];
    }
  }
  EXPECT_EQ(comparison(view_of(image.pixels), colors), "equal");
}

/// The golden bytes after decoding, conversion to RGB and resizing: path `eval`, or `train` where the two agree.
TEST(GoldenImages, EveryImageEqualsTheOriginalsBytes) {
  MINIMIND_REQUIRE_FIXTURES();
  const nlohmann::json images = testing::fixtures_manifest().at("images");
  const std::filesystem::path folder = testing::fixtures_dir() / "images";
  const testing::SafetensorsView expected(folder / "expected.safetensors");
  size_t ran = 0;
  for (const auto& [file, facts] : images.items()) {
    SCOPED_TRACE(file);
    const Image image = load_image(folder / file);
    EXPECT_EQ(facts.at("size"), nlohmann::json({image.width, image.height}));
    const std::string stem = std::filesystem::path(file).stem().string();
    const std::string eval = stem + ".eval.u8_chw";
    const bool same = facts.value("eval_same_as_train", false) && !expected.contains(eval);
    check_resized(image, expected.at(same ? stem + ".train.u8_chw" : eval));
    if (expected.contains(stem + ".decoded_hwc")) {
      check_decoded(image, expected.at(stem + ".decoded_hwc"), facts.at("mode"));
    }
    ++ran;
  }
  testing::golden_ran("images", ran, images.size());
}

}  // namespace
}  // namespace minimind
