#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "minimind/base/image_span.h"
#include "minimind/text/tokenizer.h"

namespace minimind {

struct Message {
  std::string role;  ///< system, user or assistant
  std::string content;
};

/// Renders messages by the chat template of SPEC.md section 4. Image placeholders stay as they are.
std::string render_chat(std::span<const Message> messages);

/// A rendered and tokenised conversation.
struct EncodedChat {
  std::vector<TokenId> ids;
  /// Start of each image span in `ids`. All ids of the pattern stand there.
  std::vector<int64_t> spans;
  /// [begin, end) of each answer in `ids`: from behind its `<s>assistant` marker to behind its final newline.
  std::vector<std::pair<int64_t, int64_t>> answers;
};

/// Renders and tokenises a conversation. `<image>` in a user message becomes an image span (SPEC.md section 3, with its
/// departure); anywhere else it is plain text.
EncodedChat encode_chat(const Tokenizer& tokenizer, const ImagePattern& pattern, std::span<const Message> messages);

/// The number of image placeholders in the user messages.
int64_t count_image_placeholders(const ImagePattern& pattern, std::span<const Message> messages);

/// The image pattern of `text` with this tokenizer's ids. Throws Error unless there are `vision_tokens` (P) ids.
ImagePattern make_image_pattern(const Tokenizer& tokenizer, const std::string& text, int64_t vision_tokens);

enum class Supervision { kLastAnswer, kAllAnswers };

/// Loss mask of a training sample (SPEC.md section 5): mask[i] is 1 if ids[i] is a supervised target. kLastAnswer: 1
/// behind the last marker in `ids`, as in the original; without a marker 1 from the position on that is the number of
/// the marker's tokens minus one. kAllAnswers: 1 on `answers`. Answers may reach beyond truncated ids.
std::vector<uint8_t> loss_mask(const Tokenizer& tokenizer, const EncodedChat& chat, Supervision supervision);

/// Whether the ids hold a `<s>assistant` marker.
bool has_answer_marker(const Tokenizer& tokenizer, std::span<const TokenId> ids);

}  // namespace minimind
