#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "web/api_error.h"
#include "web/chat_request.h"
#include "web/http_message.h"
#include "web/stop_matcher.h"

namespace minimind {

/// Names an answer.
struct AnswerHead {
  std::string id;       ///< `chatcmpl-…`
  std::string model;    ///< its name in the API
  int64_t created = 0;  ///< seconds since 1970
};

struct AnswerUsage {
  int64_t prompt_tokens = 0;
  int64_t completion_tokens = 0;
};

/// Writes the answer to one request: as a stream of events, or whole at its end.
class AnswerWriter {
 public:
  /// `reply` must outlive the writer.
  AnswerWriter(Reply& reply, const ChatRequest& request, AnswerHead head)
      : reply_(reply),
        head_(std::move(head)),
        stream_(request.stream),
        include_usage_(request.include_usage),
        stops_(request.stop) {}

  /// Sends the first event of a stream.
  void start();
  void add(const std::string& piece) { show(stops_.push(piece)); }
  /// Whether a stop string has occurred, so that nothing more is shown.
  bool stopped() const { return stops_.stopped(); }
  /// `finish_reason`: `stop` or `length`.
  void end(const std::string& finish_reason, const AnswerUsage& usage);
  /// Ends the answer with an error, unless it has ended.
  void fail(const ApiError& error);

 private:
  void show(const std::string& text);

  Reply& reply_;
  AnswerHead head_;
  bool stream_;
  bool include_usage_;
  bool started_ = false;
  bool ended_ = false;
  std::string text_;
  StopMatcher stops_;
};

}  // namespace minimind
