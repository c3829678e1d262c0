#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "minimind/infer/sampling.h"
#include "minimind/text/chat_prompt.h"

namespace minimind {

inline constexpr double kMaxTemperature = 2;
inline constexpr double kMaxRepetitionPenalty = 10;

/// Limits of a request, and its defaults.
struct ChatRequestRules {
  std::string model;                      ///< name of the model in the API
  std::string placeholder = "<image>";    ///< of images in texts
  SamplingOptions sampling;               ///< defaults
  int64_t max_new_tokens = 512;           ///< limit and default
  int64_t images = 8;                     ///< limit per request
  int64_t messages = 256;                 ///< limit per request
  size_t text_bytes = size_t{256} << 10;  ///< limit for all messages together
};

struct RequestImage {
  std::string bytes;  ///< of the image file
  std::string where;  ///< `messages[0].content[1].image_url.url`
};

/// A checked body of POST /v1/chat/completions.
struct ChatRequest {
  /// An optional system message, then user and assistant in turn. User texts hold a placeholder for each image. An
  /// assistant message at the end is the beginning of the answer.
  std::vector<Message> messages;
  std::vector<RequestImage> images;  ///< in the order of their placeholders
  SamplingOptions sampling;
  int64_t max_new_tokens = 512;
  std::vector<std::string> stop;
  std::optional<uint64_t> seed;
  bool stream = false;
  bool include_usage = false;
};

/// Parses a body. Throws ApiError that names the field, what was expected and what was found. It refuses malformed
/// JSON, wrong types, values out of range, unknown fields, features that the server lacks (tools, several choices, …),
/// and images that are no base64 data URL.
ChatRequest parse_chat_request(std::string_view body, const ChatRequestRules& rules);

/// Reads the field `messages` into texts and images of `request`. The texts of all system messages become the first
/// message, messages of one role in a row one message. Throws ApiError that names the message and its field.
void read_messages(const Json& messages, const ChatRequestRules& rules, ChatRequest& request);

}  // namespace minimind
