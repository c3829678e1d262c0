#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "minimind/infer/generator.h"
#include "web/api_error.h"
#include "web/chat_request.h"
#include "web/http_message.h"

namespace minimind {

/// Ends a streamed text before the first of several strings. Holds back a suffix that may begin one of the strings.
class StopMatcher {
 public:
  explicit StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)) {}

  /// Returns the text that may be shown now; nothing once stopped() is true.
  std::string push(std::string_view piece);
  /// Returns the text held back, at the end of the stream.
  std::string finish() { return std::exchange(held_, {}); }
  /// Whether one of the strings has occurred.
  bool stopped() const { return stopped_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

/// Names an answer.
struct AnswerHead {
  std::string id;       ///< `chatcmpl-…`
  std::string model;    ///< its name in the API
  int64_t created = 0;  ///< seconds since 1970
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
  /// Ends the answer with its `finish_reason` and the numbers of its tokens.
  void end(const Generation& generation);
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
