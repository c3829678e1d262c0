#pragma once

#include <string>

#include "web/api_error.h"
#include "web/chat_answer.h"
#include "web/chat_request.h"
#include "web/http_server.h"
#include "web/stop_matcher.h"

namespace minimind::detail {

/// An answer on its way to the client: in events, or kept and sent whole.
class AnswerWriter {
 public:
  AnswerWriter(Reply& reply, AnswerHead head, const ChatRequest& request)
      : reply_(reply), head_(std::move(head)), stream_(request.stream), stops_(request.stop) {}

  void start() {
    if (stream_) {
      begun_ = true;
      reply_.begin({200,
                    "text/event-stream; charset=utf-8",
                    first_event(head_),
                    {{"Cache-Control", "no-store"}, {"X-Accel-Buffering", "no"}}});
    }
  }
  void add(const std::string& piece) { show(stops_.push(piece)); }
  /// A stop string has come.
  bool stopped() const { return stops_.stopped(); }
  void end(const std::string& finish_reason, const AnswerUsage& usage) {
    show(stops_.finish());
    ended_ = true;
    if (!stream_) {
      reply_.send({200, "application/json", whole_answer_json(head_, text_, finish_reason, usage), {}});
      return;
    }
    reply_.write(finish_event(head_, finish_reason) + (head_.usage ? usage_event(head_, usage) : "") + done_event());
    reply_.finish();
  }
  void fail(const ApiError& error) {
    if (ended_) {
      return;
    }
    if (!begun_) {
      reply_.send(api_error_response(error));
      return;
    }
    reply_.write(error_event(api_error_json(error)));
    reply_.finish();
  }

 private:
  void show(const std::string& text) {
    if (text.empty()) {
      return;
    }
    if (stream_) {
      reply_.write(text_event(head_, text));
    } else {
      text_ += text;
    }
  }

  Reply& reply_;
  AnswerHead head_;
  bool stream_;
  bool begun_ = false;
  bool ended_ = false;
  std::string text_;
  StopMatcher stops_;
};

}  // namespace minimind::detail
