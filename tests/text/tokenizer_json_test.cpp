#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "text_test_support.h"

namespace {

using minimind::load_tokenizer;
using minimind::testing::error_of;
using minimind::testing::TemporaryFolder;
using nlohmann::json;

// The small model as a Hugging Face file.
json small_tokenizer_json() {
  const auto model = minimind::testing::small_byte_bpe_model();
  json vocab = model.vocab;
  json added = json::array();
  for (const auto& token : model.added) {
    vocab[token.content] = token.id;
    added.push_back({{"id", token.id}, {"content", token.content}, {"special", token.special}, {"lstrip", false}});
  }
  const json byte_level = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
  return {{"normalizer", nullptr},
          {"added_tokens", added},
          {"pre_tokenizer", byte_level},
          {"decoder", byte_level},
          {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", {"a b", "ab ab"}}}}};
}

std::string error_for(const std::function<void(json&)>& change) {
  const TemporaryFolder folder;
  json file = small_tokenizer_json();
  change(file);
  const auto path = folder.write("tokenizer.json", file.dump());
  return error_of([&] { load_tokenizer(path); });
}

void expect_mentions(const std::string& message, const std::vector<std::string>& parts) {
  for (const std::string& part : parts) {
    EXPECT_NE(message.find(part), std::string::npos) << "'" << part << "' is missing in: " << message;
  }
}

TEST(TokenizerJson, LoadsFromFileAndFolder) {
  const TemporaryFolder folder;
  const auto path = folder.write("tokenizer.json", small_tokenizer_json().dump());
  EXPECT_EQ(load_tokenizer(path)->encode("abab"), load_tokenizer(folder.path())->encode("abab"));
  EXPECT_EQ(load_tokenizer(path)->vocab_size(), 3 + 256 + 2);
}

TEST(TokenizerJson, ReadsMergesAsTextAndAsPairs) {
  const TemporaryFolder folder;
  json file = small_tokenizer_json();
  file["model"]["merges"] = json::array({json::array({"a", "b"}), json::array({"ab", "ab"})});
  const auto tokenizer = load_tokenizer(folder.write("tokenizer.json", file.dump()));
  EXPECT_EQ(tokenizer->encode("abab").size(), 1U);
}

TEST(TokenizerJson, KnowsWhichAddedTokensAreSpecial) {
  const TemporaryFolder folder;
  json file = small_tokenizer_json();
  file["added_tokens"].push_back({{"id", 261}, {"content", "<tool use>"}, {"special", false}});
  const auto tokenizer = load_tokenizer(folder.write("tokenizer.json", file.dump()));
  const auto ids = tokenizer->encode("<s><tool use>");
  EXPECT_EQ(ids, (std::vector<minimind::TokenId>{1, 261}));
  EXPECT_TRUE(tokenizer->is_special(1));
  EXPECT_FALSE(tokenizer->is_special(261));
  EXPECT_EQ(tokenizer->decode(ids), "<s><tool use>");
}

TEST(TokenizerJson, NamesLineAndColumnOfMalformedJson) {
  const TemporaryFolder folder;
  const auto path = folder.write("tokenizer.json", "{\n  \"model\": }");
  expect_mentions(error_of([&] { load_tokenizer(path); }), {path.string(), "malformed JSON", "line 2"});
}

TEST(TokenizerJson, RefusesWhatItWouldNotReproduce) {
  expect_mentions(error_for([](json& f) { f["normalizer"] = {{"type", "NFKC"}}; }), {"normalizer", "NFKC"});
  expect_mentions(error_for([](json& f) { f["pre_tokenizer"]["type"] = "Metaspace"; }), {"pre_tokenizer", "ByteLevel"});
  expect_mentions(error_for([](json& f) { f["pre_tokenizer"]["add_prefix_space"] = true; }), {"add_prefix_space"});
  expect_mentions(error_for([](json& f) { f["pre_tokenizer"]["use_regex"] = false; }), {"use_regex"});
  expect_mentions(error_for([](json& f) { f["decoder"] = nullptr; }), {"decoder"});
  expect_mentions(error_for([](json& f) {
                    f["post_processor"] = {{"type", "TemplateProcessing"}};
                  }),
                  {"post_processor", "TemplateProcessing"});
  expect_mentions(error_for([](json& f) { f["model"]["type"] = "Unigram"; }), {"model.type", "BPE", "Unigram"});
  expect_mentions(error_for([](json& f) { f["model"]["dropout"] = 0.1; }), {"model.dropout", "0.1"});
  expect_mentions(error_for([](json& f) { f["model"]["ignore_merges"] = true; }), {"model.ignore_merges"});
  expect_mentions(error_for([](json& f) { f["added_tokens"][0]["lstrip"] = true; }), {"<unk>", "lstrip"});
}

TEST(TokenizerJson, NamesWhatIsWrongInVocabularyAndMerges) {
  expect_mentions(error_for([](json& f) { f.erase("model"); }), {"key model"});
  expect_mentions(error_for([](json& f) { f["model"]["vocab"] = 7; }), {"model.vocab", "7"});
  expect_mentions(error_for([](json& f) { f["model"]["vocab"]["ab"] = -4; }), {"model.vocab", "-4"});
  expect_mentions(error_for([](json& f) { f["model"]["vocab"]["ab"] = 1.5; }), {"model.vocab", "1.5"});
  expect_mentions(error_for([](json& f) { f["model"]["vocab"]["ab"] = 999999999; }), {"'ab'", "999999999"});
  expect_mentions(error_for([](json& f) { f["model"]["vocab"]["abab"] = f["model"]["vocab"]["ab"]; }),
                  {"one token for each id", "'ab'", "'abab'"});
  expect_mentions(error_for([](json& f) { f["model"]["vocab"].erase("x"); }), {"256 bytes", "byte 120"});
  expect_mentions(error_for([](json& f) { f["model"]["merges"].push_back("a z"); }), {"model.merges[2]", "'az'"});
  expect_mentions(error_for([](json& f) { f["model"]["merges"].push_back("abc"); }), {"model.merges", "abc"});
  expect_mentions(error_for([](json& f) { f["model"]["merges"].push_back(json::array({"a", 1})); }), {"model.merges"});
  expect_mentions(error_for([](json& f) { f["added_tokens"].push_back("x"); }), {"added_tokens"});
  expect_mentions(error_for([](json& f) { f["added_tokens"][1]["id"] = 300; }), {"'<s>'", "300"});
  expect_mentions(error_for([](json& f) {
                    f["added_tokens"].erase(2);
                    f["model"]["vocab"].erase("</s>");
                  }),
                  {"</s>", "chat template"});
}

TEST(TokenizerJson, NeverCrashesOnATruncatedFile) {
  const TemporaryFolder folder;
  const std::string whole = small_tokenizer_json().dump();
  for (size_t size = 0; size < whole.size(); size += 97) {
    const auto path = folder.write("tokenizer.json", whole.substr(0, size));
    EXPECT_NE(error_of([&] { load_tokenizer(path); }).find("malformed"), std::string::npos);
  }
}

TEST(LoadTokenizer, SaysWhichFileItMisses) {
  const TemporaryFolder folder;
  expect_mentions(error_of([&] { load_tokenizer(folder.path() / "none"); }), {"none", "tokenizer.json", ".model"});
  expect_mentions(error_of([&] { load_tokenizer(folder.path()); }), {folder.path().string(), "found no such file"});
  expect_mentions(error_of([&] { load_tokenizer(folder.write("vocab.txt", "a")); }), {"vocab.txt", ".json or .model"});
  folder.write("a.model", "");
  folder.write("b.model", "");
  expect_mentions(error_of([&] { load_tokenizer(folder.path()); }), {"found 2", "a.model", "b.model"});
}

}  // namespace
