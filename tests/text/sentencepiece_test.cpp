#include <gtest/gtest.h>
#include <sentencepiece_trainer.h>

#include <filesystem>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "minimind/base/random.h"
#include "minimind/text/chat_prompt.h"
#include "text_test_support.h"

namespace {

using minimind::load_tokenizer;
using minimind::TokenId;
using minimind::testing::error_of;
using minimind::testing::TemporaryFolder;
using Ids = std::vector<TokenId>;

using TrainerOptions = std::unordered_map<std::string, std::string>;

// A model trained on a few sentences with the options of SPEC.md section 4, but for `changes`.
std::filesystem::path train_model(const TemporaryFolder& folder, TrainerOptions changes = {}) {
  std::string corpus;
  for (int i = 0; i < 200; ++i) {
    corpus += "a red circle on a blue background " + std::to_string(i) + "\n红色的圆形在蓝色的背景上\nuser assistant\n";
  }
  const auto prefix = (folder.path() / "small").string();
  TrainerOptions options{{"input", folder.write("corpus.txt", corpus).string()},
                         {"model_prefix", prefix},
                         {"model_type", "bpe"},
                         {"vocab_size", "420"},
                         {"normalization_rule_name", "identity"},
                         {"add_dummy_prefix", "false"},
                         {"remove_extra_whitespaces", "false"},
                         {"byte_fallback", "true"},
                         {"unk_id", "0"},
                         {"bos_id", "1"},
                         {"eos_id", "2"},
                         {"user_defined_symbols", "<,>,\n"},
                         {"minloglevel", "2"}};
  changes.merge(options);
  const auto status = sentencepiece::SentencePieceTrainer::Train(changes);
  EXPECT_TRUE(status.ok()) << status.ToString();
  return prefix + ".model";
}

class Sentencepiece : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    tokenizer_ = load_tokenizer(train_model(*folder_)).release();
  }
  static void TearDownTestSuite() {
    delete tokenizer_;
    delete folder_;
  }
  static std::string round_trip(const std::string& text) {
    std::string bytes;
    for (const TokenId id : tokenizer_->encode(text)) {
      bytes += tokenizer_->token_bytes(id);
    }
    return bytes;
  }

  static TemporaryFolder* folder_;
  static minimind::Tokenizer* tokenizer_;
};

TemporaryFolder* Sentencepiece::folder_ = nullptr;
minimind::Tokenizer* Sentencepiece::tokenizer_ = nullptr;

TEST_F(Sentencepiece, SplitsTheSpecialsOffFirst) {
  const Ids ids = tokenizer_->encode("<s>user\n</s>");
  EXPECT_EQ(ids.front(), 1);
  EXPECT_EQ(ids.back(), 2);
  EXPECT_EQ(tokenizer_->encode("<unk>"), Ids{0});
  EXPECT_EQ(tokenizer_->decode(std::span(ids).subspan(1, ids.size() - 2)), "user\n");
  EXPECT_EQ(tokenizer_->bos_id(), 1);
  EXPECT_EQ(tokenizer_->eos_id(), 2);
  EXPECT_TRUE(tokenizer_->is_special(2));
  EXPECT_FALSE(tokenizer_->is_special(3));
}

TEST_F(Sentencepiece, KeepsPatternSymbolsApart) {
  EXPECT_EQ(tokenizer_->encode("<<<>>").size(), 5U);
  const auto pattern = minimind::make_image_pattern(*tokenizer_, std::string(25, '<') + std::string(25, '>'), 50);
  const auto chat = encode_chat(*tokenizer_, pattern, std::vector<minimind::Message>{{"user", "a <image>\n<image>b"}});
  EXPECT_EQ(chat.spans.size(), 2U);
}

TEST_F(Sentencepiece, GivesTextBackExactly) {
  for (const std::string text : {"", " ", "  a  b  ", "\n\n", "\r\n\t", "▁", "a▁▁b ▁ ", "é\u0301", "Ａ²ﬁ", "😀龘",
                                 "<0x41>", "a red circle\u00A0\u3000", "<s", "</s", "\u2047 "}) {
    EXPECT_EQ(round_trip(text), text);
  }
  EXPECT_EQ(round_trip(std::string("a\0b", 3)), std::string("a\0b", 3));
}

TEST_F(Sentencepiece, GivesRandomTextBackExactly) {
  minimind::Random random(3);
  const std::vector<std::string> parts{"a",  "red", " ",  "  ",     "\n", "<", ">",  "<s>",  "▁",      "圆",
                                       "形", "é",   "\t", "\u3000", "😀",  "1", "\r", "</s>", "\u200B", "circle"};
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (uint64_t i = random.below(30); i > 0; --i) {
      text += random.choice(parts);
    }
    ASSERT_EQ(round_trip(text), text);
  }
}

TEST_F(Sentencepiece, ReplacesInvalidBytes) {
  EXPECT_EQ(round_trip("a\xFF\xE4\xBD"
                       "b"),
            "a\uFFFD\uFFFDb");
}

TEST_F(Sentencepiece, FindsTokensByTheirText) {
  EXPECT_EQ(tokenizer_->token_id("</s>"), 2);
  EXPECT_EQ(tokenizer_->encode("\n"), Ids{*tokenizer_->token_id("\n")});
  EXPECT_EQ(tokenizer_->token_id("no such token"), std::nullopt);
  EXPECT_EQ(tokenizer_->token_bytes(-1), "");
  EXPECT_EQ(tokenizer_->token_bytes(static_cast<TokenId>(tokenizer_->vocab_size())), "");
}

TEST_F(Sentencepiece, EncodesTheSameInSeveralThreads) {
  const std::string text = "a red circle<s>红色的圆形\n";
  const Ids expected = tokenizer_->encode(text);
  std::vector<int> wrong(4, 0);
  std::vector<std::thread> threads;
  for (int& count : wrong) {
    threads.emplace_back([&] {
      for (int i = 0; i < 500; ++i) {
        count += tokenizer_->encode(text) != expected;
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

TEST_F(Sentencepiece, LoadsFromAFolder) {
  EXPECT_EQ(load_tokenizer(folder_->path())->vocab_size(), tokenizer_->vocab_size());
}

TEST(SentencepieceModel, IsRefusedIfItWouldNotGiveTextBack) {
  for (const auto& [option, value] : TrainerOptions{{"add_dummy_prefix", "true"},
                                                    {"remove_extra_whitespaces", "true"},
                                                    {"byte_fallback", "false"},
                                                    {"normalization_rule_name", "nmt_nfkc"}}) {
    const TemporaryFolder folder;
    const auto model = train_model(folder, {{option, value}});
    const std::string error = error_of([&] { load_tokenizer(model); });
    EXPECT_NE(error.find("gives text back"), std::string::npos) << option << ": " << error;
  }
}

TEST(SentencepieceModel, IsRefusedWithoutTheTemplatesTokens) {
  const TemporaryFolder folder;
  const auto model = train_model(folder, {{"eos_id", "-1"}});
  EXPECT_NE(error_of([&] { load_tokenizer(model); }).find("</s>"), std::string::npos);
}

TEST(SentencepieceModel, IsRefusedIfItIsNone) {
  const TemporaryFolder folder;
  for (const std::string bytes : {"", "not a model", "\x0A\xFF\xFF\xFF\xFF\x0F"}) {
    const auto path = folder.write("x.model", bytes);
    EXPECT_NE(error_of([&] { load_tokenizer(path); }).find("x.model: expected a"), std::string::npos);
  }
}

}  // namespace
