#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "minimind/infer/sampling.h"
#include "minimind/text/chat_prompt.h"

namespace minimind {

inline constexpr double kMostTemperature = 2;
inline constexpr double kMostPenalty = 10;  ///< of repetition

/// What a request may ask for at most, and what it gets if it does not say.
struct ChatRequestRules {
  std::string model;                    ///< the name that it goes by
  std::string placeholder = "<image>";  ///< of images in texts
  SamplingOptions sampling;
  int64_t max_new_tokens = 512;
  int64_t images = 8;  ///< in one request
  int64_t messages = 256;
  size_t text_bytes = size_t{256} << 10;  ///< of all messages together
};

/// An image of a request: a file's bytes.
struct RequestImage {
  std::string bytes;
  std::string where;  ///< `messages[0].content[1].image_url.url`
};

/// The body of POST /v1/chat/completions, checked.
struct ChatRequest {
  /// System message or none, then user and assistant in turn; user's texts hold a placeholder for each image.
  std::vector<Message> messages;
  std::vector<RequestImage> images;  ///< in the order of their placeholders
  SamplingOptions sampling;
  int64_t max_new_tokens = 512;
  std::vector<std::string> stop;
  std::optional<uint64_t> seed;
  bool stream = false;
  bool include_usage = false;
};

/// Reads a body. Throws ApiError that names the field, what was expected and what was found: on malformed JSON, wrong
/// types, values out of range, unknown fields, fields that ask for what is not there (tools, several choices, …), and
/// on any image that is not in the request itself as a base64 data URL.
ChatRequest parse_chat_request(std::string_view body, const ChatRequestRules& rules);

/// The bytes of a `data:image/…;base64,…` URL. Throws ApiError that names `where`.
std::string image_of_data_url(std::string_view url, const std::string& where);

}  // namespace minimind
