#include "chat/image_paths.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "minimind/base/error.h"

namespace minimind {
namespace {

namespace fs = std::filesystem;
using Paths = std::vector<std::string>;

/// A working folder of its own for each test, which is the home folder too.
class ImagePaths : public ::testing::Test {
 protected:
  void SetUp() override {
    before_ = fs::current_path();
    const std::string name = ::testing::UnitTest::GetInstance()->current_test_info()->name();
    folder_ = fs::canonical(fs::temp_directory_path()) / ("minimind_paths_" + name + std::to_string(getpid()));
    fs::create_directories(folder_);
    fs::current_path(folder_);
    setenv("HOME", folder_.c_str(), 1);
  }
  void TearDown() override {
    fs::current_path(before_);
    fs::remove_all(folder_);
  }

  void touch(const std::string& name) const {
    fs::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name) << "x";
  }
  std::string at(const std::string& name) const { return (folder_ / name).string(); }

  void expect_taken(const std::string& line, const Paths& images, const std::string& text) const {
    const DroppedImages found = take_images_out(line);
    EXPECT_EQ(found.images, images) << line;
    EXPECT_EQ(found.text, text) << line;
  }
  /// The line stays whole, and one note names the path.
  void expect_named(const std::string& line, const std::string& path) const {
    const DroppedImages found = take_images_out(line);
    EXPECT_EQ(found.images, Paths{}) << line;
    EXPECT_EQ(found.text, line);
    ASSERT_EQ(found.notes.size(), 1U) << line << (found.notes.empty() ? "" : found.notes.back());
    EXPECT_TRUE(found.notes[0].starts_with(path + ": ")) << found.notes[0];
  }
  void expect_refused(const std::string& line, const std::string& path) const {
    try {
      take_images_out(line);
      ADD_FAILURE() << "no error: " << line;
    } catch (const Error& error) {
      EXPECT_TRUE(std::string(error.what()).starts_with(path + ": expected an image file")) << error.what();
    }
  }

  fs::path before_;
  fs::path folder_;
};

TEST_F(ImagePaths, TakeThemAsTerminalsWriteThem) {
  touch("a b.png");
  touch("it's (1).png");
  const std::string spaced = at("a b.png");
  std::string escaped = spaced;
  escaped.insert(escaped.find(' '), "\\");
  std::string url = "file://" + spaced;
  url.replace(url.find(' '), 1, "%20");
  const std::string local = "file://localhost" + url.substr(7);
  const std::string short_url = "file:" + url.substr(7);
  for (const std::string& dropped :
       {"'" + spaced + "'", "\"" + spaced + "\"", escaped, url, local, short_url, spaced}) {
    expect_taken("see " + dropped + " now", {spaced}, "see  now");
    EXPECT_TRUE(take_images_out("see " + dropped + " now").notes.empty()) << dropped;
  }
  expect_taken(" " + spaced + " ", {spaced}, "");
  for (const std::string& dropped : {at("it'\\''s (1).png"), at("it\\'s\\ \\(1\\).png")}) {
    const bool is_quoted = dropped.find("'\\''") != std::string::npos;
    expect_taken((is_quoted ? "'" + dropped + "'" : dropped) + " what?", {at("it's (1).png")}, "what?");
  }
}

TEST_F(ImagePaths, TakeThemWithoutBlanksAround) {
  touch("X.JPG");
  touch("图片/猫.png");
  for (const std::string line :
       {"看看X.JPG里有什么", "X.JPG里有什么", "Is it in X.JPG?", "It is X.JPG.", "(X.JPG) what?", "[X.JPG]",
        "“X.JPG”是什么", "「X.JPG」", "（X.JPG）", "图：X.JPG，是什么？", "image=X.JPG;", "@X.JPG what?",
        "\"X.JPG\", what?", "<X.JPG>", "`X.JPG`", "![x](X.JPG)", "X.JPG:"}) {
    const DroppedImages found = take_images_out(line);
    EXPECT_EQ(found.images, Paths{"X.JPG"}) << line;
    EXPECT_EQ(found.text.find("X.JPG"), std::string::npos) << line;
    EXPECT_FALSE(found.notes.empty() && line[0] != '"') << line;
  }
  expect_taken("（X.JPG）是什么", {"X.JPG"}, "是什么");
  expect_taken("比较" + at("X.JPG") + "和图片/猫.png，哪个大？", {at("X.JPG"), "图片/猫.png"}, "比较和，哪个大？");
  expect_taken("X.JPG,图片/猫.png same?", {"X.JPG", "图片/猫.png"}, ", same?");
}

TEST_F(ImagePaths, TakeEveryEndingThatADecoderReads) {
  for (const char* name : {"a.jfif", "a.JPE", "a.dib", "a.WebP", "a.jpeg", "a.heic", "a.tif"}) {
    touch(name);
    expect_taken(std::string("what is ") + name, {name}, "what is");
  }
}

TEST_F(ImagePaths, TakeThemFromTheHomeFolderAndAsWindowsWritesThem) {
  touch("pics/cat.png");
  expect_taken("~/pics/cat.png what?", {at("pics/cat.png")}, "what?");
  expect_taken("看~/pics/cat.png", {at("pics/cat.png")}, "看");
  expect_taken("pics\\cat.png what?", {"pics/cat.png"}, "what?");
  expect_taken("\\\\wsl.localhost\\Ubuntu" + at("pics\\cat.png") + " what?", {at("pics/cat.png")}, "what?");
  expect_taken(at("pics/c%61t.png"), {at("pics/cat.png")}, "");
  EXPECT_EQ(split_paths(" ~/pics/cat.png, 'pics/cat.png' C:\\x\\y.png"),
            (Paths{at("pics/cat.png"), "pics/cat.png", "C:\\x\\y.png"}));
}

TEST_F(ImagePaths, NameWhatIsNoFile) {
  for (const std::string path : {"pics/cat.jpg", "cat.HEIC", "图片/猫.png", "cat.avif", "clip.mp4", "x.jpeg"}) {
    expect_named("what is in " + path + "?", path);
    expect_named("(" + path + ") what?", path);
    expect_named("what is in \"" + path + "\"?", path);
  }
  expect_named("'my pics/a cat.jpg' what?", "my pics/a cat.jpg");
  expect_named("C:\\My Pictures\\cat.jpg what?", "C:\\My Pictures\\cat.jpg");
  expect_named("see https://example.org/cat.jpg?w=3 now", "https://example.org/cat.jpg");
  expect_named("see http://example.org/cat now", "http://example.org/cat");
  expect_named("data:image/png;base64,AAAA what?", "data:image/png;base64,AAAA");
  touch("photo");
  fs::create_directories("folder.jpg/inner");
  expect_named("see " + at("photo") + " now", at("photo"));
  expect_named("see ./nothing now", "./nothing");
  expect_named("see " + at("folder.jpg/inner") + ", now", at("folder.jpg/inner"));
  expect_named("看" + at("folder.jpg/inner") + " 里", at("folder.jpg/inner"));
}

TEST_F(ImagePaths, RefuseAMissingFileThatIsCertainlyMeant) {
  expect_refused("see /nowhere/a.png", "/nowhere/a.png");
  expect_refused("see ~/a.png?", "~/a.png");
  expect_refused("see ./a.heic", "./a.heic");
  expect_refused("see file:///nowhere/a.png", "file:///nowhere/a.png");
  expect_refused("see C:\\pics\\a.png now", "C:\\pics\\a.png");
}

TEST_F(ImagePaths, TakeTheLongestNameAndNoPartOfOne) {
  touch("a.jpg");
  touch("a.jpg-b.png");
  touch("x y.png");
  touch("y.png");
  expect_taken("see a.jpg-b.png", {"a.jpg-b.png"}, "see");
  expect_taken("see x y.png", {"x y.png"}, "see");
  expect_taken("see z y.png", {"y.png"}, "see z");
  expect_named("see other/a.jpg now", "other/a.jpg");
  expect_named("see not-a.jpg now", "not-a.jpg");
  expect_named("see https://host/a.jpg now", "https://host/a.jpg");
}

TEST_F(ImagePaths, LeaveOrdinaryTextAlone) {
  for (const std::string line : {"what's in it, isn't it?", "a\\b \"quoted\" text", "它是什么？", "3/4 and/or 1/2?",
                                 "红/绿/蓝哪个？", "a / b // c", "", "what does .jpg mean, or '.png'?",
                                 "e.g. this. And \\frac{a}{b}", "/help", "<image>\nwhat?", "v1.0.png_x"}) {
    const DroppedImages parts = take_images_out(line);
    EXPECT_TRUE(parts.images.empty()) << line;
    EXPECT_EQ(parts.text, line);
    EXPECT_TRUE(parts.notes.empty()) << line << parts.notes.at(0);
  }
}

TEST_F(ImagePaths, EndSoonInALineOfManyNames) {
  std::string line;
  for (int i = 0; i < 20'000; ++i) {
    line += "a.jpg-";
  }
  EXPECT_LE(take_images_out(line).notes.size(), 1U);
  for (size_t at = line.find('-'); at != line.npos; at = line.find('-', at)) {
    line[at] = ' ';
  }
  EXPECT_LE(take_images_out(line).notes.size(), 300U);
}

}  // namespace
}  // namespace minimind
