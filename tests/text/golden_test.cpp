#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "minimind/text/chat_prompt.h"
#include "minimind/text/load_tokenizer.h"
#include "support/fixtures.h"

namespace {

using minimind::EncodedChat;
using minimind::ImagePattern;
using minimind::Message;
using minimind::TokenId;
using minimind::testing::fixtures_dir;
using minimind::testing::golden_ran;
using minimind::testing::read_json;
using nlohmann::json;
using Ids = std::vector<TokenId>;

constexpr const char* kReplacementText = "\xEF\xBF\xBD";

// What the cases need: the tokenizer and the two files of cases.
struct Golden {
  std::unique_ptr<minimind::Tokenizer> tokenizer = minimind::load_tokenizer(fixtures_dir() / "tokenizer");
  json strings = read_json(fixtures_dir() / "tokenizer" / "strings.json");
  json conversations = read_json(fixtures_dir() / "tokenizer" / "conversations.json");

  // The number of vision tokens is the length that the set's own configurations give its pattern.
  ImagePattern pattern() const {
    const auto text = strings.at("image_placeholder").get<std::string>();
    return minimind::make_image_pattern(*tokenizer, text, std::ssize(tokenizer->encode(text)));
  }
};

std::string decode_without_specials(const minimind::Tokenizer& tokenizer, Ids ids) {
  std::erase_if(ids, [&](TokenId id) { return tokenizer.is_special(id); });
  return tokenizer.decode(ids);
}

// Every list of cases in a file must be of a kind that some test here runs.
void expect_known_kinds(const json& file, const std::set<std::string>& known) {
  for (const auto& [key, value] : file.items()) {
    const bool cases = value.is_array() && !value.empty() && value.front().is_object();
    EXPECT_TRUE(!cases || known.contains(key)) << "golden cases of the unknown kind " << key;
  }
}

bool is_prefix(const Ids& prefix, const Ids& ids) {
  return prefix.size() <= ids.size() && std::equal(prefix.begin(), prefix.end(), ids.begin());
}

TEST(Golden, tokenizer_encode) {
  MINIMIND_REQUIRE_FIXTURES();
  const Golden golden;
  expect_known_kinds(golden.strings, {"encode_cases", "decode_cases", "stream_decode_prefixes"});
  size_t ran = 0;
  const json& cases = golden.strings.at("encode_cases");
  for (const json& item : cases) {
    const auto text = item.at("text").get<std::string>();
    const Ids ids = golden.tokenizer->encode(text);
    EXPECT_EQ(ids, item.at("ids").get<Ids>()) << json(text);
    EXPECT_EQ(golden.tokenizer->decode(ids), item.at("decoded").get<std::string>());
    EXPECT_EQ(decode_without_specials(*golden.tokenizer, ids), item.at("decoded_skip_special").get<std::string>());
    ++ran;
  }
  golden_ran("tokenizer_encode", ran, cases.size());
}

TEST(Golden, tokenizer_decode) {
  MINIMIND_REQUIRE_FIXTURES();
  const Golden golden;
  size_t ran = 0;
  const json& cases = golden.strings.at("decode_cases");
  for (const json& item : cases) {
    EXPECT_EQ(golden.tokenizer->decode(item.at("ids").get<Ids>()), item.at("decoded").get<std::string>());
    ++ran;
  }
  golden_ran("tokenizer_decode", ran, cases.size());
}

TEST(Golden, tokenizer_stream) {
  MINIMIND_REQUIRE_FIXTURES();
  const Golden golden;
  size_t ran = 0;
  const json& cases = golden.strings.at("stream_decode_prefixes");
  for (const json& item : cases) {
    const auto ids = item.at("ids").get<Ids>();
    const auto decoded = item.at("decoded").get<std::string>();
    minimind::StreamDecoder stream(*golden.tokenizer);
    std::string shown;
    for (const TokenId id : ids) {
      shown += stream.push(id);
    }
    // What was shown never has to be taken back when the ids go on.
    for (const json& other : cases) {
      if (is_prefix(ids, other.at("ids").get<Ids>())) {
        EXPECT_TRUE(other.at("decoded").get<std::string>().starts_with(shown)) << shown;
      }
    }
    const std::string rest = stream.finish();
    EXPECT_TRUE(rest.empty() || rest == kReplacementText) << rest;
    EXPECT_EQ(shown + rest, decoded);
    ++ran;
  }
  golden_ran("tokenizer_stream", ran, cases.size());
}

std::vector<Message> messages_of(const json& item) {
  std::vector<Message> messages;
  for (const json& message : item.at("messages")) {
    messages.push_back({message.at("role").get<std::string>(), message.at("content").get<std::string>()});
  }
  return messages;
}

// The same conversation as a user writes it: placeholders in the place of the placeholder.
std::vector<Message> with_marks(std::vector<Message> messages, const ImagePattern& pattern) {
  for (Message& message : messages) {
    for (size_t at; message.role == "user" && (at = message.content.find(pattern.text)) != std::string::npos;) {
      message.content.replace(at, pattern.text.size(), pattern.placeholder);
    }
  }
  return messages;
}

TEST(Golden, chat) {
  MINIMIND_REQUIRE_FIXTURES();
  const Golden golden;
  const ImagePattern pattern = golden.pattern();
  expect_known_kinds(golden.conversations, {"chat", "train_samples"});
  size_t ran = 0;
  const json& cases = golden.conversations.at("chat");
  for (const json& item : cases) {
    const auto messages = messages_of(item);
    const auto ids = item.at("ids").get<Ids>();
    EXPECT_EQ(minimind::render_chat(messages), item.at("prompt").get<std::string>());
    EXPECT_EQ(golden.tokenizer->encode(item.at("prompt").get<std::string>()), ids);
    EXPECT_EQ(encode_chat(*golden.tokenizer, pattern, messages).ids, ids);
    EXPECT_EQ(encode_chat(*golden.tokenizer, pattern, with_marks(messages, pattern)).ids, ids);
    ++ran;
  }
  golden_ran("chat", ran, cases.size());
}

// The turns that a data set of this kind takes from a sample (SPEC.md section 5).
std::vector<Message> turns_of(const json& item) {
  const json& conversations = item.at("sample").at("conversations");
  const auto text = [&](size_t i) { return conversations[i].at("value").get<std::string>(); };
  const size_t pairs = item.at("kind") == "pretrain" ? conversations.size() / 2 : 1;
  std::vector<Message> messages;
  for (size_t i = 0; i + 1 < conversations.size() && i < 2 * pairs; i += 2) {
    if (!text(i).empty() && !text(i + 1).empty()) {
      messages.push_back({"user", text(i)});
      messages.push_back({"assistant", text(i + 1)});
    }
  }
  return messages;
}

// A space right before a placeholder breaks the original's span (SPEC.md section 3, departure).
bool has_broken_span(const std::vector<Message>& messages, const ImagePattern& pattern) {
  return std::any_of(messages.begin(), messages.end(), [&](const Message& message) {
    return message.role == "user" && message.content.find(" " + pattern.placeholder) != std::string::npos;
  });
}

struct TrainingRow {
  Ids inputs;
  TokenId last = 0;
  std::vector<int> mask;  // of the targets
  Ids supervised;
};

TrainingRow training_row(const minimind::Tokenizer& tokenizer, EncodedChat chat, size_t length) {
  chat.ids.resize(std::min(chat.ids.size(), length));
  auto mask = loss_mask(tokenizer, chat, minimind::Supervision::kLastAnswer);
  chat.ids.resize(length, 0);
  mask.resize(length, 0);
  TrainingRow row{{chat.ids.begin(), chat.ids.end() - 1}, chat.ids.back(), {mask.begin() + 1, mask.end()}, {}};
  for (size_t i = 1; i < length; ++i) {
    if (mask[i] != 0) {
      row.supervised.push_back(chat.ids[i]);
    }
  }
  return row;
}

void check_train_sample(const Golden& golden, const ImagePattern& pattern, const json& item) {
  const auto messages = turns_of(item);
  if (item.contains("error")) {
    EXPECT_TRUE(messages.empty()) << "the original raises (" << item["error"] << "), ours finds a turn";
    return;
  }
  const EncodedChat chat = encode_chat(*golden.tokenizer, pattern, messages);
  const auto row = training_row(*golden.tokenizer, chat, item.at("max_length").get<size_t>());
  const auto inputs = item.at("X").get<Ids>();
  const auto supervised_text = item.at("supervised_targets_text").get<std::string>();
  if (has_broken_span(messages, pattern)) {
    EXPECT_EQ(std::ssize(chat.spans), count_image_placeholders(pattern, messages));
    EXPECT_GT(chat.spans.size(), item.at("placeholder_starts").size());
    // The text is the same, with fewer tokens in the original.
    const auto real = item.at("n_real_in_X").get<size_t>();
    if (real < inputs.size()) {
      EXPECT_EQ(golden.tokenizer->decode(chat.ids), golden.tokenizer->decode(std::span(inputs).first(real)));
      EXPECT_EQ(golden.tokenizer->decode(row.supervised), supervised_text);
    }
    return;
  }
  EXPECT_EQ(golden.tokenizer->decode(row.supervised), supervised_text);
  EXPECT_EQ(row.inputs, inputs);
  EXPECT_EQ(row.last, item.at("Y_last").get<TokenId>());
  EXPECT_EQ(row.mask, item.at("loss_mask").get<std::vector<int>>());
  EXPECT_EQ(row.supervised.size(), item.at("n_supervised").get<size_t>());
  EXPECT_EQ(minimind::find_image_spans(std::span<const TokenId>(row.inputs), pattern.ids),
            item.at("placeholder_starts").get<std::vector<int64_t>>());
}

TEST(Golden, train_samples) {
  MINIMIND_REQUIRE_FIXTURES();
  const Golden golden;
  const ImagePattern pattern = golden.pattern();
  size_t ran = 0;
  const json& cases = golden.conversations.at("train_samples");
  for (const json& item : cases) {
    SCOPED_TRACE(item.at("kind").get<std::string>() + " " + item.at("sample").dump());
    check_train_sample(golden, pattern, item);
    ++ran;
  }
  golden_ran("train_samples", ran, cases.size());
}

}  // namespace
