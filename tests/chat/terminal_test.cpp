#include "chat/terminal.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "chat/toy_chat.h"
#include "minimind/base/error.h"
#include "minimind/image/encode.h"

namespace minimind::testing {
namespace {

namespace fs = std::filesystem;

/// A folder of its own for each test, with images.
class TerminalFolder : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string name = ::testing::UnitTest::GetInstance()->current_test_info()->name();
    folder_ = fs::temp_directory_path() / ("minimind_terminal_" + name + std::to_string(getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string image(const std::string& name, int tone = 1) const {
    fs::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name, std::ios::binary) << encode_png(toy_image(tone));
    return (folder_ / name).string();
  }

  /// What the loop does with these lines.
  int run(const std::string& lines) {
    input_ = std::istringstream(lines);
    out_.str("");
    notes_.str("");
    return run_terminal(chat_);
  }

  static ChatOptions greedy() {
    ChatOptions options;
    options.sampling.temperature = 0;
    options.max_new_tokens = 6;
    return options;
  }

  fs::path folder_;
  std::unique_ptr<ChatModel> model_ = toy_chat_model();
  std::unique_ptr<ChatSession> session_ = std::make_unique<ChatSession>(*model_, greedy());
  std::istringstream input_;
  StreamLines lines_{input_};
  std::ostringstream out_, notes_;
  TerminalChat chat_{*session_, lines_, out_, notes_, false, {}, {}};
};

using TerminalLoop = TerminalFolder;
using TerminalWalk = TerminalFolder;

TEST_F(TerminalLoop, AnswersPipedLines) {
  EXPECT_EQ(run("what?\n"), 0);
  const std::string answer = session_->messages().at(1).content;
  EXPECT_EQ(out_.str(), answer.ends_with('\n') ? answer : answer + "\n");
  EXPECT_EQ(notes_.str(), "");
}

TEST_F(TerminalLoop, ImageCommandGivesImagesToTheNextQuestionOnly) {
  EXPECT_EQ(run("/image " + image("a.png") + " '" + image("b c.png", 2) + "'\nsame?\nand now?\n"), 0);
  ASSERT_EQ(session_->messages().size(), 4U);
  EXPECT_EQ(session_->messages()[0].content, "<image>\n<image>\nsame?");
  EXPECT_EQ(session_->messages()[2].content, "and now?");
}

TEST_F(TerminalLoop, PathDroppedIntoALineIsAnImage) {
  EXPECT_EQ(run("what is " + image("a.png") + " like?\n"), 0);
  EXPECT_EQ(session_->messages().at(0).content, "<image>\nwhat is  like?");
}

TEST_F(TerminalLoop, APathThatIsNotSeenIsNamedBeforeTheAnswer) {
  EXPECT_EQ(run("what is in missing/cat.jpg?\n"), 0);
  EXPECT_EQ(notes_.str(), "note: missing/cat.jpg: not seen as an image; there is no such file\n");
  EXPECT_EQ(session_->messages().at(0).content, "what is in missing/cat.jpg?");
  EXPECT_EQ(run("what is in /nowhere/cat.jpg?\n"), 1);
  EXPECT_EQ(session_->messages().size(), 2U);
}

TEST_F(TerminalLoop, ImageCommandTakesHomeFoldersAndPathsWithBlanks) {
  image("my cat.png");
  setenv("HOME", folder_.c_str(), 1);
  EXPECT_EQ(run("/image ~/my\\ cat.png, " + (folder_ / "my cat.png").string() + "\n"), 1);
  EXPECT_EQ(run("/image " + (folder_ / "my cat.png").string() + "\nwhat?\n/image '~/my cat.png'\n/clear\n"), 0);
  EXPECT_EQ(run("/image ~/my\\ cat.png, file://localhost" + folder_.string() + "/my%20cat.png\nsame?\n"), 0);
  EXPECT_EQ(session_->messages().back().role, "assistant");
  EXPECT_EQ(session_->messages().at(session_->messages().size() - 2).content, "<image>\n<image>\nsame?");
}

TEST_F(TerminalLoop, AskOnceTakesTheImagesOfItsQuestion) {
  ask_once(chat_, {image("a.png")}, "same as (" + image("b.png", 2) + ")?");
  EXPECT_EQ(session_->messages().at(0).content, "<image>\n<image>\nsame as ?");
  ask_once(chat_, {}, "and no/c.png?");
  EXPECT_NE(notes_.str().find("note: no/c.png: not seen"), std::string::npos) << notes_.str();
}

TEST_F(TerminalLoop, PathAloneWaitsAndAnEmptyLineAsksTheDefaultQuestion) {
  EXPECT_EQ(run(image("a.png") + "\n"), 0);
  EXPECT_TRUE(session_->messages().empty());
  EXPECT_EQ(run(image("a.png") + "\n\n"), 0);
  EXPECT_EQ(session_->messages().at(0).content, "<image>\n这个图片描述的是什么内容？");
  EXPECT_EQ(model_->encoded_images(), 1);
}

TEST_F(TerminalLoop, ClearForgetsConversationAndWaitingImages) {
  EXPECT_EQ(run("one\n/image " + image("a.png") + "\n/clear\ntwo\n"), 0);
  ASSERT_EQ(session_->messages().size(), 2U);
  EXPECT_EQ(session_->messages()[0].content, "two");
}

TEST_F(TerminalLoop, QuitEndsBeforeTheNextLine) {
  EXPECT_EQ(run("/quit\nnever asked\n"), 0);
  EXPECT_TRUE(session_->messages().empty());
}

TEST_F(TerminalLoop, HelpNamesEveryCommand) {
  EXPECT_EQ(run("/help\n"), 0);
  for (const char* command : {"/image", "/clear", "/help", "/quit"}) {
    EXPECT_NE(notes_.str().find(command), std::string::npos) << command;
  }
}

TEST_F(TerminalLoop, ABadLineIsToldAndTheNextOneIsAnswered) {
  EXPECT_EQ(run("/image /nowhere/a.png\n/unknown\n<image> which?\nwhat?\n"), 1);
  EXPECT_NE(notes_.str().find("/nowhere/a.png"), std::string::npos);
  EXPECT_NE(notes_.str().find("/unknown"), std::string::npos);
  EXPECT_NE(notes_.str().find("found 0"), std::string::npos);
  ASSERT_EQ(session_->messages().size(), 2U);
  EXPECT_EQ(session_->messages()[0].content, "what?");
}

TEST_F(TerminalLoop, StopWantedStopsTheAnswerAndNotTheLoop) {
  int asked = 0;
  chat_.stop_wanted = [&asked] { return ++asked == 1; };
  EXPECT_EQ(run("what?\nand?\n"), 0);
  ASSERT_EQ(session_->messages().size(), 4U);
  EXPECT_LT(session_->messages()[1].content.size(), session_->messages()[3].content.size());
}

TEST_F(TerminalLoop, FirstImagesBelongToTheFirstQuestion) {
  chat_.first_images = {image("a.png")};
  EXPECT_EQ(run("what?\nand?\n"), 0);
  ASSERT_EQ(session_->messages().size(), 4U);
  EXPECT_EQ(session_->messages()[0].content, "<image>\nwhat?");
  EXPECT_EQ(session_->messages()[2].content, "and?");
}

TEST_F(TerminalLoop, FirstImagesGetTheDefaultQuestionWhenNoLineComes) {
  chat_.first_images = {image("a.png")};
  EXPECT_EQ(run(""), 0);
  EXPECT_EQ(session_->messages().at(0).content, default_question(1, "<image>"));
}

TEST_F(TerminalWalk, AnswersEachImageInNameOrder) {
  image("b.png", 2);
  image("a.png", 1);
  std::ofstream(folder_ / "notes.txt") << "no image";
  EXPECT_EQ(ask_about_folder(chat_, folder_, "what?", false), 0);
  const std::string text = out_.str();
  EXPECT_LT(text.find("a.png: "), text.find("b.png: "));
  EXPECT_EQ(text.find("notes.txt"), std::string::npos);
  // Each image is a conversation of its own.
  EXPECT_EQ(session_->messages().size(), 2U);
}

TEST_F(TerminalWalk, TogetherAsksOnceForEachSubfolder) {
  image("bird/1.png", 1);
  image("bird/2.png", 2);
  EXPECT_EQ(ask_about_folder(chat_, folder_, "", true), 0);
  EXPECT_EQ(session_->messages().at(0).content, "<image>\n<image>\nName all the differences between these two birds.");
  session_->clear();
  EXPECT_EQ(ask_about_folder(chat_, folder_ / "bird", "", true), 0);
  EXPECT_EQ(session_->messages().size(), 2U);
}

TEST_F(TerminalWalk, ABadImageIsToldAndTheOthersAreAnswered) {
  std::ofstream(folder_ / "a.png") << "no image";
  image("b.png");
  EXPECT_EQ(ask_about_folder(chat_, folder_, "what?", false), 1);
  EXPECT_NE(notes_.str().find("a.png"), std::string::npos);
  EXPECT_EQ(session_->messages().size(), 2U);
}

TEST_F(TerminalWalk, ShowsControlCharactersOfNamesAsEscapes) {
  image("\x1b[31ma.png");
  std::ofstream(folder_ / "\x1b]0;b.png") << "no image";
  EXPECT_EQ(ask_about_folder(chat_, folder_, "what?", false), 1);
  EXPECT_NE(out_.str().find("\\u001b[31ma.png: "), std::string::npos);
  EXPECT_NE(notes_.str().find("\\u001b]0;b.png"), std::string::npos);
  EXPECT_EQ((out_.str() + notes_.str()).find('\x1b'), std::string::npos);
}

TEST_F(TerminalWalk, TellsWhatItLeavesOutAndPassesOverHiddenFiles) {
  image("a.png");
  image("b.JFIF", 2);
  image("inner/c.png", 3);
  for (const char* name : {"phone.heic", "scan.tif", "._a.png", ".DS_Store", "Thumbs.db"}) {
    std::ofstream(folder_ / name) << "other bytes";
  }
  EXPECT_EQ(ask_about_folder(chat_, folder_, "what?", false), 0);
  EXPECT_NE(notes_.str().find(": left out inner/, phone.heic, scan.tif (images"), std::string::npos) << notes_.str();
  EXPECT_EQ((out_.str() + notes_.str()).find("._a"), std::string::npos);
  notes_.str("");
  EXPECT_EQ(ask_about_folder(chat_, folder_, "what?", true), 0);
  EXPECT_NE(notes_.str().find(": left out a.png, b.JFIF, phone.heic, scan.tif (images of sub"), std::string::npos)
      << notes_.str();
}

TEST_F(TerminalWalk, TakesTheImagesOfTheQuestionToEachImage) {
  image("a.png");
  const std::string other =
      (fs::temp_directory_path() / ("minimind_other" + std::to_string(getpid()) + ".png")).string();
  std::ofstream(other, std::ios::binary) << encode_png(toy_image(2));
  EXPECT_EQ(ask_about_folder(chat_, folder_, "same as " + other, false), 0);
  EXPECT_EQ(session_->messages().at(0).content, "<image>\n<image>\nsame as");
  fs::remove(other);
}

TEST_F(TerminalWalk, RefusesAFolderWithoutImages) {
  std::ofstream(folder_ / "phone.heic") << "other bytes";
  try {
    ask_about_folder(chat_, folder_, "", false);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("found no image but phone.heic"), std::string::npos) << error.what();
  }
  fs::remove(folder_ / "phone.heic");
  EXPECT_THROW(ask_about_folder(chat_, folder_, "", false), Error);
  EXPECT_THROW(ask_about_folder(chat_, folder_ / "nowhere", "", false), Error);
}

}  // namespace
}  // namespace minimind::testing
