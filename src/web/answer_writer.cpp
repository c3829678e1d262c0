#include "web/answer_writer.h"

#include <nlohmann/json.hpp>
#include <utility>

namespace minimind {

namespace {

using OrderedJson = nlohmann::ordered_json;

std::string dump(const OrderedJson& json) {
  return json.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

std::string event_text(const std::string& data) {
  return "data: " + data + "\n\n";
}

OrderedJson usage_json(const AnswerUsage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens},
          {"completion_tokens", usage.completion_tokens},
          {"total_tokens", usage.prompt_tokens + usage.completion_tokens}};
}

OrderedJson new_object(const AnswerHead& head, const char* type) {
  return {{"id", head.id}, {"object", type}, {"created", head.created}, {"model", head.model}};
}

std::string event(const AnswerHead& head, bool include_usage, OrderedJson delta, OrderedJson finish_reason) {
  OrderedJson json = new_object(head, "chat.completion.chunk");
  json["choices"] = OrderedJson::array({{{"index", 0},
                                         {"delta", std::move(delta)},
                                         {"logprobs", nullptr},
                                         {"finish_reason", std::move(finish_reason)}}});
  if (include_usage) {
    json["usage"] = nullptr;
  }
  return event_text(dump(json));
}

}  // namespace

void AnswerWriter::start() {
  if (stream_) {
    started_ = true;
    reply_.begin({200,
                  "text/event-stream; charset=utf-8",
                  event(head_, include_usage_, {{"role", "assistant"}, {"content", ""}}, nullptr),
                  {{"Cache-Control", "no-store"}, {"X-Accel-Buffering", "no"}}});
  }
}

void AnswerWriter::show(const std::string& text) {
  if (!stream_) {
    text_ += text;
  } else if (!text.empty()) {
    reply_.write(event(head_, include_usage_, {{"content", text}}, nullptr));
  }
}

void AnswerWriter::end(const std::string& finish_reason, const AnswerUsage& usage) {
  show(stops_.finish());
  ended_ = true;
  if (!stream_) {
    OrderedJson json = new_object(head_, "chat.completion");
    json["choices"] =
        OrderedJson::array({{{"index", 0},
                             {"message", {{"role", "assistant"}, {"content", text_}, {"refusal", nullptr}}},
                             {"logprobs", nullptr},
                             {"finish_reason", finish_reason}}});
    json["usage"] = usage_json(usage);
    reply_.send({200, "application/json", dump(json), {}});
    return;
  }
  std::string events = event(head_, include_usage_, OrderedJson::object(), finish_reason);
  if (include_usage_) {
    OrderedJson json = new_object(head_, "chat.completion.chunk");
    json["choices"] = OrderedJson::array();
    json["usage"] = usage_json(usage);
    events += event_text(dump(json));
  }
  reply_.write(events + event_text("[DONE]"));
  reply_.finish();
}

void AnswerWriter::fail(const ApiError& error) {
  if (started_ && !ended_) {
    reply_.write(event_text(api_error_json(error)));
    reply_.finish();
  } else if (!ended_) {
    reply_.send(api_error_response(error));
  }
  ended_ = true;
}

}  // namespace minimind
