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

/// The chat template of SPEC.md section 4, as text; image placeholders stay as they are.
std::string render_chat(std::span<const Message> messages);

/// A rendered and tokenised conversation.
struct EncodedChat {
  std::vector<TokenId> ids;
  /// Start of each image span in `ids`; the pattern's ids stand there whole.
  std::vector<int64_t> spans;
  /// [begin, end) of what the template rendered for each answer: from after its `<s>assistant` marker to after the
  /// final newline.
  std::vector<std::pair<int64_t, int64_t>> answers;
};

/// Ids of the rendered conversation. `<image>` in user messages becomes a whole span (SPEC.md section 3, departure
/// included); anywhere else it is plain text.
EncodedChat encode_chat(const Tokenizer& tokenizer, const ImagePattern& pattern, std::span<const Message> messages);

/// How many image placeholders the user messages hold.
int64_t count_image_placeholders(const ImagePattern& pattern, std::span<const Message> messages);

/// The pattern of `text` for this tokenizer: its ids as the tokenizer gives them. `vision_tokens` (P) checks the
/// length.
ImagePattern make_image_pattern(const Tokenizer& tokenizer, const std::string& text, int64_t vision_tokens);

enum class Supervision { kLastAnswer, kAllAnswers };

/// Loss mask of a training sample (SPEC.md section 5), aligned with `ids` (so mask[i] says whether ids[i] is a
/// supervised target). kLastAnswer: 1 after the last marker found in `ids`, as the original does; without a marker 0 on
/// the first three positions (the marker's length less one) and 1 on the rest. kAllAnswers: 1 on the spans of
/// `answers`. Spans and spans may reach beyond ids that were truncated.
std::vector<uint8_t> loss_mask(const Tokenizer& tokenizer, const EncodedChat& chat, Supervision supervision);

/// Whether a `<s>assistant` marker stands in the ids.
bool has_answer_marker(const Tokenizer& tokenizer, std::span<const TokenId> ids);

}  // namespace minimind
