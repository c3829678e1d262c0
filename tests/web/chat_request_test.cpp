#include "web/chat_request.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "web/api_error.h"

namespace minimind {
namespace {

constexpr const char* kImage = "data:image/png;base64,aGVsbG8=";

ChatRequestRules rules() {
  ChatRequestRules rules;
  rules.model = "toy";
  rules.max_new_tokens = 100;
  rules.images = 2;
  rules.messages = 6;
  rules.text_bytes = 1000;
  return rules;
}

/// The body of a plain question with more fields: `, "temperature": 1`.
std::string body_with(const std::string& fields) {
  return R"({"model": "toy", "messages": [{"role": "user", "content": "what?"}])" + fields + "}";
}

std::string image_part(const std::string& url = kImage) {
  return R"({"type": "image_url", "image_url": {"url": ")" + url + "\"}}";
}

std::string body_of_messages(const std::string& messages) {
  return R"({"messages": [)" + messages + "]}";
}

std::string body_of_content(const std::string& content) {
  return body_of_messages(R"({"role": "user", "content": )" + content + "}");
}

struct Refusal {
  int status = 0;
  std::string param;
  std::string code;
  std::string message;
};

Refusal refusal_of(const std::string& body) {
  try {
    parse_chat_request(body, rules());
  } catch (const ApiError& error) {
    return {error.status(), error.param(), error.code(), error.what()};
  }
  return {};
}

void expect_refused(const std::string& body, const std::string& param, const std::string& part = "") {
  const Refusal refusal = refusal_of(body);
  EXPECT_EQ(refusal.status, 400) << body;
  EXPECT_EQ(refusal.param, param) << body << refusal.message;
  EXPECT_NE(refusal.message.find(part.empty() ? param : part), std::string::npos) << refusal.message;
}

TEST(ChatRequest, TakesWhatIsNotSaidFromTheRules) {
  const ChatRequest request = parse_chat_request(body_with(""), rules());
  EXPECT_EQ(request.sampling.temperature, rules().sampling.temperature);
  EXPECT_EQ(request.sampling.top_k, rules().sampling.top_k);
  EXPECT_EQ(request.max_new_tokens, 100);
  EXPECT_FALSE(request.seed.has_value());
  EXPECT_FALSE(request.stream);
  EXPECT_FALSE(parse_chat_request(body_with(R"(, "temperature": null, "stop": null)"), rules()).stream);
}

TEST(ChatRequest, ReadsEveryField) {
  const ChatRequest request = parse_chat_request(
      body_with(R"(, "temperature": 0, "top_p": 0.5, "top_k": 3, "repetition_penalty": 1.5, "max_tokens": 7, "seed": -4,
                "stop": ["a", "b"], "stream": true, "stream_options": {"include_usage": true}, "n": 1, "user": "me",
                "tools": [], "presence_penalty": 0.0, "response_format": {"type": "text"})"),
      rules());
  EXPECT_EQ(request.sampling.temperature, 0.0);
  EXPECT_EQ(request.sampling.top_p, 0.5);
  EXPECT_EQ(request.sampling.top_k, 3);
  EXPECT_EQ(request.sampling.repetition_penalty, 1.5);
  EXPECT_EQ(request.max_new_tokens, 7);
  EXPECT_EQ(request.seed, static_cast<uint64_t>(-4));
  EXPECT_EQ(request.stop, (std::vector<std::string>{"a", "b"}));
  EXPECT_TRUE(request.stream);
  EXPECT_TRUE(request.include_usage);
  EXPECT_EQ(parse_chat_request(body_with(R"(, "max_completion_tokens": 8, "stop": "x")"), rules()).max_new_tokens, 8);
}

TEST(ChatRequest, PutsImagesBeforeATextWithoutPlaceholdersAndAtThePlaceholdersOtherwise) {
  const ChatRequest before =
      parse_chat_request(body_of_content("[{\"type\": \"text\", \"text\": \"same?\"}, " + image_part() + ", " +
                                         image_part("data:image/jpeg;base64,QQ==") + "]"),
                         rules());
  EXPECT_EQ(before.messages.at(0).content, "<image>\n<image>\nsame?");
  ASSERT_EQ(before.images.size(), 2U);
  EXPECT_EQ(before.images[0].bytes, "hello");
  EXPECT_EQ(before.images[1].bytes, "A");
  EXPECT_EQ(before.images[1].where, "messages[0].content[2].image_url.url");
  const ChatRequest placed = parse_chat_request(
      body_of_content("[" + image_part() + R"(, {"type": "text", "text": "is <image> red?"}])"), rules());
  EXPECT_EQ(placed.messages.at(0).content, "is <image> red?");
}

TEST(ChatRequest, ReadsAConversationAndJoinsWhatOneSpeakerSays) {
  const ChatRequest request = parse_chat_request(
      body_of_messages(R"({"role": "developer", "content": "be brief"}, {"role": "user", "content": "a"},
                       {"role": "user", "content": "b"},
                       {"role": "assistant", "content": "c", "refusal": null, "tool_calls": null, "annotations": []},
                       {"role": "user", "content": [{"type": "text", "text": "d"}], "name": "me"})"),
      rules());
  ASSERT_EQ(request.messages.size(), 4U);
  EXPECT_EQ(request.messages[0].role, "system");
  EXPECT_EQ(request.messages[1].content, "a\nb");
  EXPECT_EQ(request.messages[2].role, "assistant");
  EXPECT_EQ(request.messages[3].content, "d");
}

TEST(ChatRequest, TakesNeutralValuesOfOtherServersFields) {
  const ChatRequest request = parse_chat_request(
      body_with(R"(, "n": 1, "best_of": 1, "logprobs": false, "top_logprobs": 0, "tools": [], "tool_choice": "none",
                "functions": [], "response_format": {"type": "text"}, "logit_bias": {}, "presence_penalty": 0,
                "frequency_penalty": 0.0, "repeat_penalty": 1.0, "repeat_last_n": 64, "min_p": 0, "typical_p": 1,
                "tfs_z": 1.0, "mirostat": 0, "mirostat_tau": 5.0, "cache_prompt": true, "ignore_eos": false,
                "stop_token_ids": [], "n_predict": -1, "reasoning_effort": "none", "grammar": "", "seed": -1,
                "keep_alive": "5m", "chat_template_kwargs": {"enable_thinking": false}, "max_tokens": -1)"),
      rules());
  EXPECT_EQ(request.max_new_tokens, rules().max_new_tokens);
  EXPECT_EQ(request.sampling.top_p, rules().sampling.top_p);
}

TEST(ChatRequest, ReadsTheEndsOfTheSamplersRanges) {
  const ChatRequest request = parse_chat_request(body_with(R"(, "top_p": 0, "top_k": -1)"), rules());
  EXPECT_EQ(request.sampling.top_p, SamplingOptions::kLeast);
  EXPECT_EQ(request.sampling.top_k, 0);
  EXPECT_NO_THROW(request.sampling.validate());
}

TEST(ChatRequest, TakesBothNamesOfTheLimitWithOneValue) {
  const std::string both = R"(, "max_tokens": 3, "max_completion_tokens": 3)";
  EXPECT_EQ(parse_chat_request(body_with(both), rules()).max_new_tokens, 3);
}

TEST(ChatRequest, TakesAGreetingFirstAndSystemMessagesAnywhere) {
  const ChatRequest request = parse_chat_request(
      body_of_messages(R"({"role": "assistant", "content": "Hello!"}, {"role": "system", "content": "be brief"},
                       {"role": "user", "content": "a", "id": "7"},
                       {"role": "assistant", "content": "b", "reasoning_content": "hm", "refusal": "", "audio": null},
                       {"role": "developer", "content": [{"type": "text", "text": "be kind"}]},
                       {"role": "user", "content": "c"})"),
      rules());
  ASSERT_EQ(request.messages.size(), 5U);
  EXPECT_EQ(request.messages[0].role, "system");
  EXPECT_EQ(request.messages[0].content, "be brief\nbe kind");
  EXPECT_EQ(request.messages[1].content, "Hello!");
  EXPECT_EQ(request.messages[3].content, "b");
  EXPECT_EQ(request.messages[4].content, "c");
}

TEST(ChatRequest, TakesTheBeginningOfTheAnswer) {
  const ChatRequest request = parse_chat_request(
      body_of_messages(R"({"role": "user", "content": "a"}, {"role": "assistant", "content": "The", "prefix": true})"),
      rules());
  EXPECT_EQ(request.messages.back().role, "assistant");
  EXPECT_EQ(request.messages.back().content, "The");
}

TEST(ChatRequest, RefusesMalformedJson) {
  for (const std::string body : {"", "{", "[]", "\"text\"", "nul", "{\"messages\": NaN}", "{\"temperature\": 1e999}",
                                 "{\"a\": 1} x", "{'a': 1}", "{\"a\": \"\xFF\xFE\"}", "{\"a\": \"\\ud800\"}"}) {
    const Refusal refusal = refusal_of(body);
    EXPECT_EQ(refusal.status, 400) << body;
    EXPECT_EQ(refusal.code, "invalid_json") << body;
    EXPECT_NE(refusal.message.find("body: expected"), std::string::npos) << refusal.message;
  }
  EXPECT_NE(refusal_of("{\n  \"a\": }").message.find("line 2, column"), std::string::npos);
}

TEST(ChatRequest, RefusesJsonThatWouldFillTheMemory) {
  EXPECT_EQ(refusal_of(std::string(100'000, '[')).code, "invalid_json");
  std::string many = "[0";
  for (int i = 0; i < 100'000; ++i) {
    many += ",0";
  }
  EXPECT_NE(refusal_of(body_with(", \"x\": " + many + "]")).message.find("values"), std::string::npos);
}

TEST(ChatRequest, NamesTheFieldThatIsWrong) {
  const std::vector<std::pair<std::string, std::vector<std::string>>> wrong = {
      {"temperature", {"\"hot\"", "-0.1", "2.1", "1e-40", "1e-320", "true", "[]"}},
      {"top_p", {"-1", "1.5", "\"x\""}},
      {"top_k", {"-2", "1.5", "\"8\"", "9223372036854775808"}},
      {"repetition_penalty", {"0", "-1", "11", "1e-40"}},
      {"max_tokens", {"0", "-5", "101", "1.0", "\"9\"", "18446744073709551615"}},
      {"max_completion_tokens", {"0", "101"}},
      {"seed", {"1.5", "\"x\"", "18446744073709551615"}},
      {"stop", {"1", "[1]", "\"\"", "[\"\"]", "[\"a\",\"b\",\"c\",\"d\",\"e\"]", "{}"}},
      {"stream", {"1", "\"true\""}},
      {"stream_options", {"{\"include_usage\": true}"}},
      {"n", {"2", "0", "\"1\""}},
      {"logprobs", {"true"}},
      {"tools", {"[{\"type\": \"function\"}]"}},
      {"response_format", {"{\"type\": \"json_object\"}"}},
      {"presence_penalty", {"0.5"}},
      {"min_p", {"0.1"}},
      {"repeat_penalty", {"1.1"}},
      {"logit_bias", {"{\"5\": 1}"}},
      {"frobnicate", {"1"}},
  };
  for (const auto& [name, values] : wrong) {
    for (const std::string& value : values) {
      expect_refused(body_with(", \"" + name + "\": " + value), name);
    }
  }
  expect_refused(body_with(R"(, "max_tokens": 3, "max_completion_tokens": 4)"), "max_completion_tokens");
  expect_refused(body_with(R"(, "stream": true, "stream_options": {"include_usage": 1})"),
                 "stream_options.include_usage");
}

TEST(ChatRequest, RefusesAnotherModel) {
  const Refusal refusal = refusal_of(R"({"model": "gpt", "messages": [{"role": "user", "content": "x"}]})");
  EXPECT_EQ(refusal.status, 404);
  EXPECT_EQ(refusal.code, "model_not_found");
}

TEST(ChatRequest, RefusesWrongMessages) {
  expect_refused("{}", "messages");
  expect_refused(R"({"messages": []})", "messages");
  expect_refused(R"({"messages": "x"})", "messages");
  expect_refused(body_of_messages("1"), "messages[0]");
  expect_refused(body_of_messages(R"({"content": "x"})"), "messages[0].role");
  expect_refused(body_of_messages(R"({"role": "tool", "content": "x"})"), "messages[0].role");
  expect_refused(body_of_messages(R"({"role": "user"})"), "messages[0].content");
  expect_refused(body_of_content("null"), "messages[0].content");
  expect_refused(body_of_content("[]"), "messages[0].content");
  expect_refused(body_of_content("\"\""), "messages[0].content");
  expect_refused(body_of_content("[1]"), "messages[0].content[0]");
  expect_refused(body_of_content(R"([{"type": "text"}])"), "messages[0].content[0].text");
  expect_refused(body_of_content(R"([{"type": "input_audio", "input_audio": {}}])"), "messages[0].content[0].type");
  expect_refused(body_of_content("\"what is <image>?\""), "messages[0].content", "(1), found 0");
  const std::string user = R"({"role": "user", "content": "x"})";
  expect_refused(body_of_messages(R"({"role": "assistant", "content": "x"})"), "messages", "\"user\", found none");
  expect_refused(body_of_messages(R"({"role": "system", "content": "x"})"), "messages", "\"user\", found none");
  expect_refused(body_of_messages(R"({"role": "user", "content": "x", "tool_calls": [1]})"), "messages[0].tool_calls");
  std::string many = user;
  for (int i = 0; i < 6; ++i) {
    many += ", " + user;
  }
  expect_refused(body_of_messages(many), "messages", "at most 6 messages");
  EXPECT_EQ(refusal_of(body_of_content("\"" + std::string(1001, 'x') + "\"")).code, "context_length_exceeded");
}

TEST(ChatRequest, OpensNoUrlAndRefusesBadImages) {
  const std::string where = "messages[0].content[0].image_url.url";
  for (const char* url :
       {"http://127.0.0.1/x.png", "https://example.org/x.png", "file:///etc/passwd", "/etc/passwd", "ftp://x/y"}) {
    const Refusal refusal = refusal_of(body_of_content("[" + image_part(url) + "]"));
    EXPECT_EQ(refusal.code, "unsupported_image_url") << url;
    EXPECT_EQ(refusal.param, where);
  }
  for (const char* url : {"data:image/png;base64,a", "data:image/png;base64,aGVs!G8=", "data:image/png;base64,",
                          "data:image/png,hello", "data:text/plain;base64,QQ==", "data:image/png;base64"}) {
    expect_refused(body_of_content("[" + image_part(url) + "]"), where);
  }
  expect_refused(body_of_content(R"([{"type": "image_url", "image_url": "x"}])"), "messages[0].content[0].image_url");
  expect_refused(body_of_content("[" + image_part() + "," + image_part() + "," + image_part() + "]"), "messages",
                 "at most 2 images");
  expect_refused(body_of_messages(R"({"role": "system", "content": [)" + image_part() + "]}"),
                 "messages[0].content[0].type");
}

TEST(ApiErrors, HaveTheFormOfOpenAi) {
  const auto json = nlohmann::json::parse(api_error_json(ApiError(400, "bad \xFF", "top_k", "invalid_value")));
  EXPECT_EQ(json["error"]["message"], "bad \xEF\xBF\xBD");
  EXPECT_EQ(json["error"]["type"], "invalid_request_error");
  EXPECT_EQ(json["error"]["param"], "top_k");
  EXPECT_EQ(json["error"]["code"], "invalid_value");
  EXPECT_TRUE(nlohmann::json::parse(api_error_json(ApiError(503, "x")))["error"]["param"].is_null());
}

}  // namespace
}  // namespace minimind
