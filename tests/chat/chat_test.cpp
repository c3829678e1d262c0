#include "minimind/chat/chat.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "io/pth.h"
#include "minimind/base/file.h"
#include "minimind/model/weights.h"
#include "support/small_model.h"

namespace minimind::testing {
namespace {

namespace fs = std::filesystem;

const fs::path kSample = fs::path(MINIMIND_SOURCE_DIR) / "data/sample";

/// A folder with a random model for the tokenizer and the encoder of the committed sample.
class ChatFolder : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("minimind_chat_" + std::to_string(getpid()));
    fs::create_directories(folder_);
    image_ = fs::directory_iterator(kSample / "images")->path().string();
    fs::copy(kSample / "clip", folder_ / "clip");
    fs::copy(kSample / "tokenizer.model", folder_);
    LmConfig config = small_config(768, 16);
    config.n_heads = LmConfig().n_heads;  // a weights file without a configuration means the default heads
    config.n_kv_heads = LmConfig().n_kv_heads;
    write_pth(folder_ / "model.pth", vlm_state_dict(*small_model(config)));
    settings_.model = (folder_ / "model.pth").string();
    settings_.device = "cpu";
    settings_.context = 256;
    settings_.max_new_tokens = 12;
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path folder_;
  std::string image_;
  ChatSettings settings_;
};

using EmbeddedChat = ChatFolder;

TEST_F(EmbeddedChat, AnswersAboutAFileAndItsBytesAlike) {
  Chat chat(settings_);
  const std::string answer = chat.ask("What is it?", {{.path = image_}});
  EXPECT_FALSE(answer.empty());
  chat.clear();
  EXPECT_EQ(chat.ask("What is it?", {{.bytes = read_file(image_)}}), answer);
}

TEST_F(EmbeddedChat, StreamsTheAnswerUntilItIsStopped) {
  Chat chat(settings_);
  std::string streamed;
  const std::string answer = chat.ask("What is it?", {}, [&](std::string_view text) {
    streamed += text;
    return true;
  });
  EXPECT_EQ(streamed, answer);
  chat.clear();
  EXPECT_LT(chat.ask("What is it?", {}, [](std::string_view) { return false; }).size(), answer.size());
}

TEST_F(EmbeddedChat, RemembersTheConversationUntilItIsCleared) {
  Chat chat(settings_);
  const std::string alone = chat.ask("And now?");
  EXPECT_NE(chat.ask("And now?"), alone);
  chat.clear();
  EXPECT_EQ(chat.ask("And now?"), alone);
}

TEST_F(EmbeddedChat, NamesTheFileThatIsMissing) {
  Chat chat(settings_);
  EXPECT_THROW(chat.ask("What is it?", {{.path = "/nowhere/a.png"}}), std::runtime_error);
  fs::remove_all(folder_ / "clip");
  try {
    Chat without_encoder(settings_);
    FAIL() << "expected an error";
  } catch (const std::runtime_error& error) {
    EXPECT_NE(std::string(error.what()).find((folder_ / "clip").string()), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace minimind::testing
