#include "web/chat_answer.h"

#include <nlohmann/json.hpp>

namespace minimind {

namespace {

using OrderedJson = nlohmann::ordered_json;

std::string text_of(const OrderedJson& json) {
  return json.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

std::string event_of(const OrderedJson& json) {
  return "data: " + text_of(json) + "\n\n";
}

OrderedJson head_of(const AnswerHead& head, const char* object) {
  OrderedJson json;
  json["id"] = head.id;
  json["object"] = object;
  json["created"] = head.created;
  json["model"] = head.model;
  return json;
}

OrderedJson usage_of(const AnswerUsage& usage) {
  OrderedJson json;
  json["prompt_tokens"] = usage.prompt_tokens;
  json["completion_tokens"] = usage.completion_tokens;
  json["total_tokens"] = usage.prompt_tokens + usage.completion_tokens;
  return json;
}

std::string chunk(const AnswerHead& head, OrderedJson delta, OrderedJson finish_reason) {
  OrderedJson choice;
  choice["index"] = 0;
  choice["delta"] = std::move(delta);
  choice["logprobs"] = nullptr;
  choice["finish_reason"] = std::move(finish_reason);
  OrderedJson json = head_of(head, "chat.completion.chunk");
  json["choices"] = OrderedJson::array({std::move(choice)});
  if (head.usage) {
    json["usage"] = nullptr;
  }
  return event_of(json);
}

}  // namespace

std::string whole_answer_json(const AnswerHead& head, std::string_view text, const std::string& finish_reason,
                              const AnswerUsage& usage) {
  OrderedJson message;
  message["role"] = "assistant";
  message["content"] = text;
  message["refusal"] = nullptr;
  OrderedJson choice;
  choice["index"] = 0;
  choice["message"] = std::move(message);
  choice["logprobs"] = nullptr;
  choice["finish_reason"] = finish_reason;
  OrderedJson json = head_of(head, "chat.completion");
  json["choices"] = OrderedJson::array({std::move(choice)});
  json["usage"] = usage_of(usage);
  return text_of(json);
}

std::string first_event(const AnswerHead& head) {
  OrderedJson delta;
  delta["role"] = "assistant";
  delta["content"] = "";
  return chunk(head, std::move(delta), nullptr);
}

std::string text_event(const AnswerHead& head, std::string_view text) {
  OrderedJson delta;
  delta["content"] = text;
  return chunk(head, std::move(delta), nullptr);
}

std::string finish_event(const AnswerHead& head, const std::string& finish_reason) {
  return chunk(head, OrderedJson::object(), finish_reason);
}

std::string usage_event(const AnswerHead& head, const AnswerUsage& usage) {
  OrderedJson json = head_of(head, "chat.completion.chunk");
  json["choices"] = OrderedJson::array();
  json["usage"] = usage_of(usage);
  return event_of(json);
}

std::string error_event(const std::string& error_json) {
  return "data: " + error_json + "\n\n";
}

std::string done_event() {
  return "data: [DONE]\n\n";
}

}  // namespace minimind
