#include "minimind/text/chat_prompt.h"

#include <algorithm>
#include <optional>
#include <string_view>

#include "base/utf8.h"
#include "minimind/base/error.h"

namespace minimind {

namespace {

constexpr std::string_view kAnswerMarker = "<s>assistant";

// The rendered text, cut at its images: piece, image, piece, …, piece.
struct Rendering {
  struct Position {
    size_t piece = 0;
    size_t offset = 0;
  };
  std::vector<std::string> pieces{1};
  std::vector<std::pair<Position, Position>> answers;

  Position end() const { return {pieces.size() - 1, pieces.back().size()}; }
};

void append_question(std::string_view content, const std::string& placeholder, Rendering& rendering) {
  for (size_t at; !placeholder.empty() && (at = content.find(placeholder)) != std::string_view::npos;) {
    rendering.pieces.back() += content.substr(0, at);
    rendering.pieces.emplace_back();
    content.remove_prefix(at + placeholder.size());
  }
  rendering.pieces.back() += content;
}

// Renders the messages; with an empty placeholder into one piece.
Rendering render(std::span<const Message> messages, const std::string& placeholder) {
  Rendering rendering;
  std::optional<Rendering::Position> open_answer;  // behind the marker of a question without an answer
  for (size_t i = 0; i < messages.size(); ++i) {
    const std::string& role = messages[i].role;
    const std::string content = repair_utf8(messages[i].content);
    if (role == "user") {
      rendering.pieces.back() += "<s>user\n";
      append_question(content, placeholder, rendering);
      rendering.pieces.back().append("</s>\n").append(kAnswerMarker);
      open_answer = rendering.end();
      rendering.pieces.back() += "\n";
    } else if (role == "assistant") {
      const Rendering::Position begin = open_answer ? *open_answer : rendering.end();
      rendering.pieces.back().append(content).append("</s>\n");
      rendering.answers.emplace_back(begin, rendering.end());
      open_answer.reset();
    } else if (role == "system" && i == 0) {
      rendering.pieces.back() += content;
    }
  }
  return rendering;
}

// Encodes a piece together with the neighbouring symbols of the image spans (SPEC.md section 3). A symbol that merges
// with the piece would break its span: the piece is then encoded without that symbol.
std::vector<TokenId> encode_beside_spans(const Tokenizer& tokenizer, const ImagePattern& pattern,
                                         const std::string& piece, bool span_before, bool span_after) {
  while (true) {
    std::string text;
    if (span_before) {
      text += tokenizer.token_bytes(pattern.ids.back());
    }
    text += piece;
    if (span_after) {
      text += tokenizer.token_bytes(pattern.ids.front());
    }
    std::vector<TokenId> ids = tokenizer.encode(text);
    const bool before_merged = span_before && (ids.empty() || ids.front() != pattern.ids.back());
    const bool after_merged = span_after && (ids.empty() || ids.back() != pattern.ids.front());
    if (!before_merged && !after_merged) {
      return {ids.begin() + (span_before ? 1 : 0), ids.end() - (span_after ? 1 : 0)};
    }
    span_before = span_before && !before_merged;
    span_after = span_after && !after_merged;
  }
}

// Index of the first token that begins at byte `offset` of the text or later.
int64_t token_at(const Tokenizer& tokenizer, std::span<const TokenId> ids, size_t offset) {
  size_t begin = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (begin >= offset) {
      return static_cast<int64_t>(i);
    }
    begin += tokenizer.token_bytes(ids[i]).size();
  }
  return std::ssize(ids);
}

// Index behind the last answer marker, if there is a marker.
std::optional<size_t> last_marker_end(const Tokenizer& tokenizer, std::span<const TokenId> ids) {
  const std::vector<TokenId> marker = tokenizer.encode(kAnswerMarker);
  const auto found = std::find_end(ids.begin(), ids.end(), marker.begin(), marker.end());
  if (found == ids.end()) {
    return std::nullopt;
  }
  return static_cast<size_t>(found - ids.begin()) + marker.size();
}

}  // namespace

std::string render_chat(std::span<const Message> messages) {
  return render(messages, "").pieces.front();
}

EncodedChat encode_chat(const Tokenizer& tokenizer, const ImagePattern& pattern, std::span<const Message> messages) {
  const Rendering rendering = render(messages, pattern.ids.empty() ? std::string() : pattern.placeholder);
  EncodedChat chat;
  chat.answers.resize(rendering.answers.size());
  for (size_t piece = 0; piece < rendering.pieces.size(); ++piece) {
    const bool span_after = piece + 1 < rendering.pieces.size();
    std::vector<TokenId> ids;
    if (!rendering.pieces[piece].empty()) {
      ids = encode_beside_spans(tokenizer, pattern, rendering.pieces[piece], piece > 0, span_after);
    }
    const auto place = [&](const Rendering::Position& position, int64_t& index) {
      if (position.piece == piece) {
        index = std::ssize(chat.ids) + token_at(tokenizer, ids, position.offset);
      }
    };
    for (size_t i = 0; i < chat.answers.size(); ++i) {
      place(rendering.answers[i].first, chat.answers[i].first);
      place(rendering.answers[i].second, chat.answers[i].second);
    }
    chat.ids.insert(chat.ids.end(), ids.begin(), ids.end());
    if (span_after) {
      chat.ids.insert(chat.ids.end(), pattern.ids.begin(), pattern.ids.end());
    }
  }
  chat.spans = find_image_spans(std::span<const TokenId>(chat.ids), pattern.ids);
  return chat;
}

int64_t count_image_placeholders(const ImagePattern& pattern, std::span<const Message> messages) {
  return std::ssize(render(messages, pattern.placeholder).pieces) - 1;
}

ImagePattern make_image_pattern(const Tokenizer& tokenizer, const std::string& text, int64_t vision_tokens) {
  ImagePattern pattern;
  pattern.text = text;
  pattern.ids = tokenizer.encode(text);
  require(std::ssize(pattern.ids) == vision_tokens, "image_special_token '", text, "': expected ", vision_tokens,
          " tokens, one per vision token of an image, found ", pattern.ids.size(),
          " with this tokenizer; give a text that it splits into ", vision_tokens, " tokens");
  return pattern;
}

std::vector<uint8_t> loss_mask(const Tokenizer& tokenizer, const EncodedChat& chat, Supervision supervision) {
  std::vector<uint8_t> mask(chat.ids.size(), 0);
  const auto supervise = [&](size_t begin, size_t end) {
    begin = std::min(begin, mask.size());
    end = std::min(end, mask.size());
    std::fill(mask.begin() + static_cast<std::ptrdiff_t>(begin), mask.begin() + static_cast<std::ptrdiff_t>(end),
              uint8_t{1});
  };
  if (supervision == Supervision::kAllAnswers) {
    for (const auto& [begin, end] : chat.answers) {
      supervise(static_cast<size_t>(begin), static_cast<size_t>(end));
    }
    return mask;
  }
  // Without a marker the original's search gives -1, and it supervises from -1 plus the marker's length.
  const size_t length_without_marker = tokenizer.encode(kAnswerMarker).size() - 1;
  supervise(last_marker_end(tokenizer, chat.ids).value_or(length_without_marker), mask.size());
  return mask;
}

bool has_answer_marker(const Tokenizer& tokenizer, std::span<const TokenId> ids) {
  return last_marker_end(tokenizer, ids).has_value();
}

}  // namespace minimind
