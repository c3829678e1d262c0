#include "web/answer_writer.h"

#include <algorithm>

#include "base/json.h"

namespace minimind {

namespace {

std::string dump(const OrderedJson& json) {
  return json.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

std::string event_text(const std::string& data) {
  return "data: " + data + "\n\n";
}

/// The only choice of an answer. `key`: `message` or `delta`.
OrderedJson choices_of(const char* key, OrderedJson content, OrderedJson finish_reason) {
  return OrderedJson::array(
      {{{"index", 0}, {key, std::move(content)}, {"logprobs", nullptr}, {"finish_reason", std::move(finish_reason)}}});
}

OrderedJson new_object(const AnswerHead& head, const char* type, OrderedJson choices) {
  return {{"id", head.id},
          {"object", type},
          {"created", head.created},
          {"model", head.model},
          {"choices", std::move(choices)}};
}

std::string event(const AnswerHead& head, bool include_usage, OrderedJson delta, OrderedJson finish_reason) {
  OrderedJson json =
      new_object(head, "chat.completion.chunk", choices_of("delta", std::move(delta), std::move(finish_reason)));
  if (include_usage) {
    json["usage"] = nullptr;
  }
  return event_text(dump(json));
}

}  // namespace

std::string StopMatcher::push(std::string_view piece) {
  if (stopped_) {
    return "";
  }
  held_ += piece;
  size_t cut = std::string::npos;
  size_t keep = 0;
  for (const std::string& stop : stops_) {
    cut = std::min(cut, held_.find(stop));
    for (size_t length = std::min(stop.size() - 1, held_.size()); length > keep; --length) {
      if (held_.ends_with(std::string_view(stop).substr(0, length))) {
        keep = length;
      }
    }
  }
  stopped_ = cut != std::string::npos;
  std::string shown = held_.substr(0, stopped_ ? cut : held_.size() - keep);
  held_.erase(0, stopped_ ? held_.size() : shown.size());
  return shown;
}

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

void AnswerWriter::end(const Generation& generation) {
  show(stops_.finish());
  ended_ = true;
  const char* finish_reason = stopped() || generation.reason == StopReason::kEos ? "stop" : "length";
  const int64_t tokens = std::ssize(generation.ids);
  const OrderedJson usage = {{"prompt_tokens", generation.prompt_tokens},
                             {"completion_tokens", tokens},
                             {"total_tokens", generation.prompt_tokens + tokens}};
  if (!stream_) {
    const OrderedJson message = {{"role", "assistant"}, {"content", text_}, {"refusal", nullptr}};
    OrderedJson json = new_object(head_, "chat.completion", choices_of("message", message, finish_reason));
    json["usage"] = usage;
    reply_.send({200, "application/json", dump(json), {}});
    return;
  }
  reply_.write(event(head_, include_usage_, OrderedJson::object(), finish_reason));
  if (include_usage_) {
    OrderedJson json = new_object(head_, "chat.completion.chunk", OrderedJson::array());
    json["usage"] = usage;
    reply_.write(event_text(dump(json)));
  }
  reply_.write(event_text("[DONE]"));
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
