#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace minimind {

/// What every part of an answer tells.
struct AnswerHead {
  std::string id;       ///< `chatcmpl-…`
  int64_t created = 0;  ///< seconds since 1970
  std::string model;
  bool usage = false;  ///< the client asked for a last event with the usage
};

struct AnswerUsage {
  int64_t prompt_tokens = 0;
  int64_t completion_tokens = 0;
};

/// The whole answer as one JSON object. `finish_reason`: `stop` or `length`.
std::string whole_answer_json(const AnswerHead& head, std::string_view text, const std::string& finish_reason,
                              const AnswerUsage& usage);

// Events of a stream, `data: {…}` and an empty line.
std::string first_event(const AnswerHead& head);
std::string text_event(const AnswerHead& head, std::string_view text);
std::string finish_event(const AnswerHead& head, const std::string& finish_reason);
std::string usage_event(const AnswerHead& head, const AnswerUsage& usage);
std::string error_event(const std::string& error_json);
std::string done_event();

}  // namespace minimind
