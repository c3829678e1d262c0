#include "web/chat_service.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/bytes.h"
#include "base/utf8.h"
#include "chat/toy_chat.h"
#include "image/sample_images.h"
#include "minimind/chat/session.h"
#include "minimind/image/encode.h"

namespace minimind::testing {
namespace {

using Json = nlohmann::json;

/// A client in memory.
class FakeReply : public Reply {
 public:
  void send(const HttpResponse& response) override {
    begin(response);
    finish();
  }
  void begin(const HttpResponse& head) override {
    const std::lock_guard lock(mutex_);
    status_ = head.status;
    body_ = head.body;
    changed_.notify_all();
  }
  void write(std::string_view piece) override {
    const std::lock_guard lock(mutex_);
    body_ += piece;
    ++pieces_;
    changed_.notify_all();
  }
  void finish() override {
    const std::lock_guard lock(mutex_);
    finished_ = true;
    changed_.notify_all();
  }
  bool gone() const override { return gone_; }

  void vanish() { gone_ = true; }
  void wait_for_pieces(int pieces) {
    wait([&] { return pieces_ >= pieces || finished_; });
  }
  int status() {
    wait([&] { return finished_; });
    return status_;
  }
  std::string body() {
    wait([&] { return finished_; });
    return body_;
  }
  Json json() { return Json::parse(body()); }
  bool finished() {
    const std::lock_guard lock(mutex_);
    return finished_;
  }

 private:
  template <class Condition>
  void wait(const Condition& condition) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(60), condition)) << "no answer";
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  int status_ = 0;
  int pieces_ = 0;
  std::string body_;
  bool finished_ = false;
  std::atomic<bool> gone_ = false;
};

ChatServiceOptions toy_options(int64_t max_new_tokens = 12) {
  ChatServiceOptions options;
  options.rules.model = "toy";
  options.rules.max_new_tokens = max_new_tokens;
  options.rules.sampling.temperature = 0;
  options.image_limits.max_pixels = 10'000;
  options.context = 256;
  return options;
}

/// Greedily the toy never comes to its end token: an answer lasts as long as the context allows.
ChatServiceOptions endless_options() {
  ChatServiceOptions options = toy_options(20'000);
  options.context = 24'000;
  return options;
}

struct Server {
  explicit Server(const ChatServiceOptions& options = toy_options()) : service(*model, options, metrics) {}

  std::shared_ptr<FakeReply> ask(const std::string& content, const std::string& fields = "") {
    HttpRequest request;
    request.body = R"({"messages": [{"role": "user", "content": )" + content + "}]" + fields + "}";
    auto reply = std::make_shared<FakeReply>();
    service.submit(std::move(request), reply);
    return reply;
  }
  void wait_until_idle() {
    for (int i = 0; i < 6000 && !service.idle(); ++i) {
      service.sweep();
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    EXPECT_TRUE(service.idle());
  }
  std::string metric(const std::string& name) const {
    const std::string text = metrics.text();
    const size_t at = text.find("\n" + name + " ") + name.size() + 2;
    return text.substr(at, text.find('\n', at) - at);
  }

  std::unique_ptr<ChatModel> model = toy_chat_model();
  ServerMetrics metrics;
  ChatService service;
};

std::string image_content(const Image& image, const std::string& text) {
  return R"([{"type": "image_url", "image_url": {"url": "data:image/png;base64,)" + encode_base64(encode_png(image)) +
         R"("}}, {"type": "text", "text": ")" + text + "\"}]";
}

constexpr int kSlowImages = 24;

/// Images of a few hundred bytes that take seconds to read: a hundred and sixty scans of 12 million pixels
/// each.
std::string slow_images() {
  const std::string part = R"({"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,)" +
                           encode_base64(many_scans_jpeg(160, 3500)) + "\"}}";
  std::string content = "[" + part;
  for (int i = 1; i < kSlowImages; ++i) {
    content += ", " + part;
  }
  return content + "]";
}

/// Takes slow_images().
ChatServiceOptions patient_options() {
  ChatServiceOptions options = toy_options();
  options.image_limits.max_pixels = int64_t{1} << 32;
  options.rules.images = kSlowImages;
  return options;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void wait_a_little() {
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
}

/// The texts of a stream's events put together.
std::string streamed_text(const std::string& events) {
  std::string text;
  size_t at = 0;
  while ((at = events.find("data: {", at)) != std::string::npos) {
    const Json json = Json::parse(events.substr(at + 6, events.find("\n\n", at) - at - 6));
    at += 6;
    if (!json["choices"].empty()) {
      text += json["choices"][0]["delta"].value("content", "");
    }
  }
  return text;
}

TEST(ChatService, AnswersAsASessionDoes) {
  Server server;
  ChatOptions options;
  options.sampling.temperature = 0;
  options.max_new_tokens = 12;
  options.context = 256;
  ChatSession session(*server.model, options);
  const Image image = toy_image(3);
  const Answer expected = session.ask("what?", {server.model->features(image)});
  const Json json = server.ask(image_content(image, "what?"))->json();
  EXPECT_EQ(json["choices"][0]["message"]["content"], expected.text);
  EXPECT_EQ(json["usage"]["prompt_tokens"], expected.prompt_tokens);
  EXPECT_EQ(json["usage"]["completion_tokens"], expected.ids.size());
  EXPECT_EQ(json["choices"][0]["finish_reason"], expected.reason == StopReason::kEos ? "stop" : "length");
}

TEST(ChatService, StreamsTheSameTextAsTheWholeAnswer) {
  Server server;
  const std::string whole = server.ask("\"what?\"")->json()["choices"][0]["message"]["content"];
  const std::string events = server.ask("\"what?\"", R"(, "stream": true)")->body();
  EXPECT_EQ(streamed_text(events), whole);
  EXPECT_TRUE(events.ends_with("data: [DONE]\n\n"));
  EXPECT_EQ(events.find("usage"), std::string::npos);
  const std::string with_usage =
      server.ask("\"what?\"", R"(, "stream": true, "stream_options": {"include_usage": true})")->body();
  EXPECT_NE(with_usage.find("\"choices\":[],\"usage\":{\"prompt_tokens\":"), std::string::npos);
}

TEST(ChatService, CutsTheAnswerBeforeAStopString) {
  Server server;
  const std::string whole = server.ask("\"what?\"")->json()["choices"][0]["message"]["content"];
  const std::vector<char32_t> letters = utf8_to_codepoints(whole);
  std::string stop;
  append_utf8(stop, letters.at(letters.size() / 2));
  const Json json = server.ask("\"what?\"", ", \"stop\": " + Json(stop).dump())->json();
  EXPECT_EQ(json["choices"][0]["message"]["content"], whole.substr(0, whole.find(stop)));
  EXPECT_EQ(json["choices"][0]["finish_reason"], "stop");
}

TEST(ChatService, TheSameSeedGivesTheSameAnswerAndAnotherOneAnother) {
  Server server(toy_options(30));
  const auto text = [&](const std::string& seed) {
    const Json json = server.ask("\"x\"", R"(, "temperature": 2, "top_k": 0)" + seed)->json();
    return json["choices"][0]["message"]["content"].get<std::string>();
  };
  EXPECT_EQ(text(R"(, "seed": 5)"), text(R"(, "seed": 5)"));
  EXPECT_NE(text(R"(, "seed": 5)"), text(R"(, "seed": 6)"));
  EXPECT_NE(text(""), text("")) << "without a seed every answer is drawn anew";
}

TEST(ChatService, EncodesAnImageOnceAcrossRequests) {
  Server server;
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(server.ask(image_content(toy_image(1), concat("question ", i)))->status(), 200);
  }
  EXPECT_EQ(server.model->encoded_images(), 1);
  server.ask(image_content(toy_image(2), "x"))->status();
  EXPECT_EQ(server.model->encoded_images(), 2);
}

TEST(ChatService, RefusesImagesThatAreNoneOrTooLarge) {
  Server server;
  const auto content = [](const std::string& bytes) {
    return R"([{"type": "image_url", "image_url": {"url": "data:image/png;base64,)" + encode_base64(bytes) + "\"}}]";
  };
  const auto text = server.ask(content("these are notes"));
  EXPECT_EQ(text->status(), 400);
  EXPECT_EQ(text->json()["error"]["code"], "invalid_image");
  EXPECT_EQ(text->json()["error"]["param"], "messages[0].content[0].image_url.url");
  Image wide = toy_image(1);
  wide.width = 20'000;
  wide.height = 1;
  wide.pixels.resize(60'000);
  const auto large = server.ask(content(encode_png(wide)));
  EXPECT_EQ(large->status(), 400);
  EXPECT_NE(large->body().find("10000 pixels"), std::string::npos) << large->body();
}

TEST(ChatService, RefusesAConversationThatLeavesNoRoomForAnAnswer) {
  Server server;
  const auto reply = server.ask("\"" + std::string(240, 'x') + "\"");
  EXPECT_EQ(reply->status(), 400);
  EXPECT_EQ(reply->json()["error"]["code"], "context_length_exceeded");
  const auto pattern = server.ask(concat("\"look ", kToyPattern, "\""));
  EXPECT_EQ(pattern->status(), 400) << "a span typed as text";
}

TEST(ChatService, AVanishedClientsAnswerEndsAndTheNextOneIsServed) {
  Server server(endless_options());
  const auto first = server.ask("\"x\"", R"(, "stream": true)");
  first->wait_for_pieces(3);
  ASSERT_FALSE(first->finished());
  const auto second = server.ask("\"x\"", R"(, "max_tokens": 2)");
  first->vanish();
  EXPECT_EQ(second->status(), 200);
  server.wait_until_idle();
  EXPECT_FALSE(first->finished());
  EXPECT_EQ(server.metric("minimind_vanished_clients_total"), "1");
  EXPECT_LT(std::stoi(server.metric("minimind_completion_tokens_total")), 20'000);
}

TEST(ChatService, ImagesOfAVanishedClientAreReadNoFurther) {
  Server server(patient_options());
  const auto vanished = server.ask(slow_images());
  wait_a_little();
  ASSERT_FALSE(vanished->finished());
  vanished->vanish();
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(server.ask("\"x\"")->status(), 200);
  EXPECT_LT(seconds_since(start), 1.0);
  server.wait_until_idle();
  EXPECT_EQ(server.metric("minimind_vanished_clients_total"), "1");
}

TEST(ChatService, GivingUpAndTheTimeLimitHoldWhileImagesAreRead) {
  ChatServiceOptions options = patient_options();
  options.request_seconds = 0.3;
  Server hasty(options);
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(hasty.ask(slow_images())->status(), 504);
  EXPECT_LT(seconds_since(start), 1.3);
  Server ending(patient_options());
  const auto reply = ending.ask(slow_images());
  wait_a_little();
  const auto end = std::chrono::steady_clock::now();
  ending.service.give_up();
  EXPECT_EQ(reply->status(), 503);
  EXPECT_LT(seconds_since(end), 1.0);
}

TEST(ChatService, RefusesImagesThatTakeTooMuchWork) {
  ChatServiceOptions options = toy_options();
  options.image_limits.max_pixels = 3500 * 3500;
  options.rules.images = kSlowImages;
  Server server(options);
  const auto reply = server.ask(slow_images());
  EXPECT_EQ(reply->status(), 400);
  EXPECT_EQ(reply->json()["error"]["param"], "messages[0].content[0].image_url.url");
  EXPECT_NE(reply->body().find("expected images of at most 245000000 pixels in a request"), std::string::npos)
      << reply->body();
}

TEST(ChatService, AFullQueueIsToldAtOnceAndVanishedClientsLeaveIt) {
  ChatServiceOptions options = endless_options();
  options.queue = 2;
  Server server(options);
  const auto running = server.ask("\"x\"", R"(, "stream": true)");
  running->wait_for_pieces(2);
  const auto waiting = server.ask("\"x\"", R"(, "max_tokens": 2)");
  const auto impatient = server.ask("\"x\"", R"(, "max_tokens": 2)");
  const auto refused = server.ask("\"x\"");
  EXPECT_EQ(refused->status(), 429);
  EXPECT_EQ(refused->json()["error"]["code"], "queue_full");
  impatient->vanish();
  server.service.sweep();
  const auto now_taken = server.ask("\"x\"", R"(, "max_tokens": 2)");
  running->vanish();
  EXPECT_EQ(waiting->status(), 200);
  EXPECT_EQ(now_taken->status(), 200);
  server.wait_until_idle();
  EXPECT_FALSE(impatient->finished());
}

TEST(ChatService, EndsWhatTakesTooLongInTheQueueAndInTheAnswer) {
  ChatServiceOptions options = endless_options();
  options.request_seconds = 0.3;
  Server server(options);
  const auto streamed = server.ask("\"x\"", R"(, "stream": true)");
  const auto whole = server.ask("\"x\"");
  server.wait_until_idle();
  EXPECT_EQ(streamed->status(), 200) << "it had begun";
  EXPECT_NE(streamed->body().find(R"("code":"timeout")"), std::string::npos);
  EXPECT_EQ(streamed->body().find("[DONE]"), std::string::npos);
  EXPECT_EQ(whole->status(), 504);
}

TEST(ChatService, FinishesWhatItHasTakenAndRefusesWhatComesAfterwards) {
  Server server(toy_options());
  const auto taken = server.ask("\"x\"");
  server.service.stop_taking();
  const auto refused = server.ask("\"x\"");
  EXPECT_EQ(refused->status(), 503);
  EXPECT_EQ(refused->json()["error"]["code"], "shutting_down");
  EXPECT_EQ(taken->status(), 200);
}

TEST(ChatService, GivingUpAnswersEverybody) {
  Server server(endless_options());
  const auto running = server.ask("\"x\"");
  const auto waiting = server.ask("\"x\"");
  server.service.give_up();
  EXPECT_EQ(running->status(), 503);
  EXPECT_EQ(waiting->status(), 503);
  server.wait_until_idle();
}

}  // namespace
}  // namespace minimind::testing
