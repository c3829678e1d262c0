#include <gtest/gtest.h>
#include <unistd.h>

#include "minimind/base/error.h"
#include "minimind/base/file.h"
#include "minimind/image/image.h"

namespace minimind {
namespace {

class ClipPreprocessingTest : public ::testing::Test {
 protected:
  ClipPreprocessingTest() : folder_(fs::temp_directory_path() / concat("minimind_clip_", ::getpid())) {
    fs::create_directories(folder_);
  }
  ~ClipPreprocessingTest() override { fs::remove_all(folder_); }

  ClipPreprocessing load(const std::string& json) {
    write_file_atomically(folder_ / "preprocessor_config.json", json);
    return load_clip_preprocessing(folder_);
  }
  std::string error_of(const std::string& json) {
    try {
      load(json);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }

  fs::path folder_;
};

TEST_F(ClipPreprocessingTest, IsClipsOwnWithoutAFile) {
  const ClipPreprocessing found = load_clip_preprocessing(folder_);
  EXPECT_EQ(found.image_size, 224);
  EXPECT_EQ(found.mean, ClipPreprocessing{}.mean);
  EXPECT_EQ(found.std, ClipPreprocessing{}.std);
}

TEST_F(ClipPreprocessingTest, ReadsOldAndNewForms) {
  const ClipPreprocessing old_form = load(
      R"({"crop_size": 336, "do_center_crop": true, "size": 340, "image_mean": [0.1, 0.2, 0.3], "image_std": [1, 2, 3]})");
  EXPECT_EQ(old_form.image_size, 336);
  EXPECT_EQ(old_form.mean, (std::array<float, 3>{0.1F, 0.2F, 0.3F}));
  EXPECT_EQ(old_form.std, (std::array<float, 3>{1.0F, 2.0F, 3.0F}));
  EXPECT_EQ(load(R"({"crop_size": {"height": 96, "width": 96}, "size": {"shortest_edge": 100}})").image_size, 96);
  EXPECT_EQ(load(R"({"size": {"shortest_edge": 100}})").image_size, 100);
  EXPECT_EQ(load(R"({"crop_size": 50, "do_center_crop": false, "size": 60})").image_size, 60);
}

TEST_F(ClipPreprocessingTest, NamesTheFileAndTheKeyOfABadValue) {
  for (const char* json : {R"({"crop_size": 0})", R"({"crop_size": "224"})", R"({"crop_size": 1e30})",
                           R"({"crop_size": {"height": 1, "width": 2}})", R"({"crop_size": {"depth": 2}})"}) {
    EXPECT_NE(error_of(json).find("preprocessor_config.json: crop_size: expected"), std::string::npos) << json;
  }
  for (const char* json : {R"({"image_std": [1, 2]})", R"({"image_std": [1, 2, 0]})", R"({"image_std": 1})",
                           R"({"image_std": [1, 2, "3"]})"}) {
    EXPECT_NE(error_of(json).find("preprocessor_config.json: image_std: expected three positive numbers"),
              std::string::npos)
        << json;
  }
  EXPECT_NE(error_of(R"({"image_mean": [1, 2, 1e300]})").find("image_mean: expected three numbers"), std::string::npos);
  EXPECT_NE(error_of("[]").find("expected a JSON object"), std::string::npos);
  EXPECT_NE(error_of("{").find("expected a JSON object"), std::string::npos);
}

}  // namespace
}  // namespace minimind
