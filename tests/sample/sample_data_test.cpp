#include "minimind/sample/sample_data.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "minimind/base/error.h"
#include "minimind/base/file.h"
#include "minimind/image/decode.h"
#include "minimind/text/chat_prompt.h"
#include "minimind/text/load_tokenizer.h"
#include "sample/clip_folder.h"

namespace minimind::sample {
namespace {

using nlohmann::json;

SampleDataOptions small_options(const fs::path& out) {
  SampleDataOptions options;
  options.out = out.string();
  options.images = 60;
  options.pairs = 30;
  options.held_out = 24;
  options.unseen = 12;
  options.held_out_pairs = 9;
  options.clip_width = 16;
  options.clip_layers = 1;
  return options;
}

std::map<std::string, std::string> files_of(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) {
      files[fs::relative(entry.path(), folder).string()] = read_file(entry.path());
    }
  }
  return files;
}

// One sample for all tests: made once.
class SampleData : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = fs::path(testing::TempDir()) / "minimind_sample_data_test";
    fs::remove_all(folder_);
    write_sample_data(small_options(folder_ / "a"));
  }
  static void TearDownTestSuite() { fs::remove_all(folder_); }
  static json read_json(const std::string& name) { return json::parse(read_file(folder_ / "a" / name)); }
  static std::unique_ptr<Tokenizer> tokenizer() { return load_tokenizer(folder_ / "a" / "tokenizer.model"); }

  static inline fs::path folder_;
};

constexpr const char* kDataFiles[] = {"pretrain.json", "pretrain_held_out.json", "sft.json",           "held_out.json",
                                      "unseen.json",   "sft_multi.json",         "multi_held_out.json"};

TEST_F(SampleData, IsTheSameForTheSameSeedWhateverTheThreads) {
  SampleDataOptions options = small_options(folder_ / "b");
  options.threads = 5;
  write_sample_data(options);
  EXPECT_EQ(files_of(folder_ / "a"), files_of(folder_ / "b"));
  options.seed = 2;
  options.out = (folder_ / "c").string();
  write_sample_data(options);
  auto first = files_of(folder_ / "a"), other = files_of(folder_ / "c");
  EXPECT_NE(first.at("sft.json"), other.at("sft.json"));
  EXPECT_NE(first.at("clip/model.safetensors"), other.at("clip/model.safetensors"));
}

TEST_F(SampleData, EveryNamedImageIsAFileOf128Pixels) {
  for (const char* name : kDataFiles) {
    std::set<std::string> ids;
    for (const json& sample : read_json(name)) {
      EXPECT_TRUE(ids.insert(sample["id"]).second) << name << ": " << sample["id"] << " twice";
      std::string images = sample["image"], first = images.substr(0, images.find(','));
      Image image = load_image(folder_ / "a" / "images" / first);
      EXPECT_EQ(image.width, 128);
      EXPECT_EQ(image.height, 128);
    }
    EXPECT_FALSE(ids.empty()) << name;
  }
}

TEST_F(SampleData, QuestionsHoldOneMarkForEachImage) {
  for (const char* name : kDataFiles) {
    for (const json& sample : read_json(name)) {
      std::string images = sample["image"], questions;
      for (const json& turn : sample["conversations"]) {
        if (turn["from"] == "human") {
          questions += turn["value"];
        } else {
          EXPECT_EQ(turn["value"].get<std::string>().find("<image>"), std::string::npos);
        }
      }
      size_t placeholders = 0;
      for (size_t at = questions.find("<image>"); at != std::string::npos; at = questions.find("<image>", at + 1)) {
        ++placeholders;
      }
      EXPECT_EQ(placeholders, 1 + static_cast<size_t>(std::count(images.begin(), images.end(), ',')))
          << name << sample["id"];
    }
  }
}

TEST_F(SampleData, HeldOutImagesAreNotTrainedOn) {
  std::set<std::string> trained;
  for (const char* name : {"pretrain.json", "sft.json"}) {
    for (const json& sample : read_json(name)) {
      trained.insert(read_file(folder_ / "a" / "images" / sample["image"].get<std::string>()));
    }
  }
  for (const char* name : {"held_out.json", "unseen.json"}) {
    for (const json& sample : read_json(name)) {
      EXPECT_EQ(trained.count(read_file(folder_ / "a" / "images" / sample["image"].get<std::string>())), 0U);
    }
  }
}

TEST_F(SampleData, EveryHeldOutQuestionHasItsAttributes) {
  json attributes = read_json("attributes.json");
  for (const char* name : {"held_out.json", "unseen.json", "multi_held_out.json"}) {
    for (const json& sample : read_json(name)) {
      const json& required = attributes.at(name).at(sample["id"].get<std::string>()).at("required");
      std::string answer = sample["conversations"][1]["value"];
      EXPECT_GE(required.size(), 2U);
      for (const json& fact : required) {
        bool named = false;
        for (const json& spelling : fact) {
          named = named || answer.find(spelling.get<std::string>()) != std::string::npos;
        }
        EXPECT_TRUE(named) << answer << " " << fact;
      }
    }
  }
  EXPECT_EQ(attributes["categories"]["colour"].size(), 8U);
}

TEST_F(SampleData, BothLanguagesAndAllTopicsOccur) {
  std::string all = read_file(folder_ / "a" / "sft.json");
  for (const char* part :
       {"How many", "Where is", "Which colour", "What is", "有几个图形", "在哪里", "什么颜色", "是什么"}) {
    EXPECT_NE(all.find(part), std::string::npos) << part;
  }
}

TEST_F(SampleData, TokenizerGivesEveryTextBack) {
  auto tokens = tokenizer();
  for (const char* name : kDataFiles) {
    for (const json& sample : read_json(name)) {
      for (const json& turn : sample["conversations"]) {
        std::string text = turn["value"];
        EXPECT_EQ(tokens->decode(tokens->encode(text)), text);
      }
    }
  }
  EXPECT_EQ(tokens->decode(tokens->encode("  a\n\n b 鹿 <<>> ")), "  a\n\n b 鹿 <<>> ");
}

TEST_F(SampleData, TokenizerKeepsSpecialsAngleBracketsAndNewlinesApart) {
  auto tokens = tokenizer();
  EXPECT_EQ(tokens->bos_id(), 1);
  EXPECT_EQ(tokens->eos_id(), 2);
  EXPECT_EQ(tokens->encode("<s></s>"), (std::vector<TokenId>{1, 2}));
  ImagePattern pattern = make_image_pattern(*tokens, std::string(25, '<') + std::string(25, '>'), 50);
  EXPECT_EQ(pattern.ids.size(), 50U);
  EXPECT_EQ(tokens->encode("\n\n").size(), 2U);
}

TEST_F(SampleData, ColourAndShapeAreTokensOfTheirOwn) {
  auto tokens = tokenizer();
  std::vector<TokenId> red = tokens->encode("一个红色的圆形。"), blue = tokens->encode("一个蓝色的圆形。");
  ASSERT_EQ(red.size(), blue.size());
  EXPECT_EQ(std::inner_product(red.begin(), red.end(), blue.begin(), 0, std::plus<>(), std::not_equal_to<>()), 1);
}

TEST_F(SampleData, EncoderFolderHoldsTheClipTensors) {
  std::string file = read_file(folder_ / "a" / "clip" / "model.safetensors");
  uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof(length));
  json header = json::parse(file.substr(sizeof(length), length));
  EXPECT_EQ(header["vision_model.embeddings.patch_embedding.weight"]["shape"], json({16, 3, 32, 32}));
  EXPECT_EQ(header["vision_model.embeddings.position_embedding.weight"]["shape"], json({50, 16}));
  EXPECT_EQ(header["vision_model.encoder.layers.0.mlp.fc1.weight"]["shape"], json({64, 16}));
  EXPECT_TRUE(header.contains("vision_model.pre_layrnorm.weight"));
  size_t last = 0;
  for (const auto& [name, tensor] : header.items()) {
    if (name != "__metadata__") {
      last = std::max(last, tensor["data_offsets"][1].get<size_t>());
    }
  }
  EXPECT_EQ(file.size(), sizeof(length) + length + last);
  EXPECT_EQ(read_json("clip/config.json")["num_hidden_layers"], 1);
  EXPECT_EQ(read_json("clip/preprocessor_config.json")["crop_size"]["height"], 224);
}

TEST_F(SampleData, RefusesAFolderThatCannotBeWritten) {
  write_file_atomically(folder_ / "file", "not a folder");
  EXPECT_THROW(write_sample_data(small_options(folder_ / "file")), Error);
}

TEST_F(SampleData, RefusesNumbersThatCannotBe) {
  SampleDataOptions options = small_options(folder_ / "d");
  options.clip_width = 20;
  EXPECT_THROW(write_sample_data(options), UsageError);
  options = small_options(folder_ / "d");
  options.images = 0;
  EXPECT_THROW(write_sample_data(options), UsageError);
  EXPECT_FALSE(fs::exists(folder_ / "d"));
}

}  // namespace
}  // namespace minimind::sample
