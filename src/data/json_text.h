#pragma once

#include <cstddef>
#include <iterator>
#include <string>
#include <string_view>

namespace minimind::detail {

/// The place of a parser in a JSON text. Python's NaN, Infinity and -Infinity, which JSON lacks, are handed to the
/// parser as numbers of the same length, see is_literal().
class JsonCursor {
 public:
  explicit JsonCursor(std::string_view text = {}) : next_(text.data()), end_(text.data() + text.size()) {}
  const char* next() const { return next_; }
  bool is_at_end() const { return next_ == end_; }
  char current() const { return substitute_.empty() ? *next_ : substitute_.front(); }
  void advance() {
    const char passed = *next_++;
    if (!substitute_.empty()) {
      substitute_.remove_prefix(1);
    } else if (in_string_) {
      in_string_ = is_escaped_ || passed != '"';
      is_escaped_ = !is_escaped_ && passed == '\\';
    } else {
      in_string_ = passed == '"';
      if (!in_string_ && next_ != end_ && (*next_ == 'N' || *next_ == 'I' || *next_ == '-')) {
        begin_literal();
      }
    }
  }
  /// Passes characters between two documents.
  void skip(std::string_view characters) {
    while (!is_at_end() && characters.find(*next_) != std::string_view::npos) {
      ++next_;
    }
  }
  /// Whether these digits of a number stand for one of the literals.
  bool is_literal(std::string_view digits) const;

 private:
  void begin_literal();

  const char* next_;
  const char* end_;
  std::string_view substitute_;
  bool in_string_ = false;
  bool is_escaped_ = false;
  bool has_literals_ = false;
};

/// Iterates over the characters of a cursor, which it moves.
class JsonIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = char;

  explicit JsonIterator(JsonCursor& cursor) : cursor_(&cursor) {}
  static JsonIterator end() { return {}; }
  char operator*() const { return cursor_->current(); }
  JsonIterator& operator++() {
    cursor_->advance();
    return *this;
  }
  bool operator==(const JsonIterator& other) const { return is_at_end() == other.is_at_end(); }
  bool operator!=(const JsonIterator& other) const { return !(*this == other); }

 private:
  JsonIterator() = default;
  bool is_at_end() const { return cursor_ == nullptr || cursor_->is_at_end(); }

  JsonCursor* cursor_ = nullptr;
};

/// The character at a byte offset, for messages: `'x'`, `'\u000a'` or `the end of the file`.
std::string character_at(std::string_view text, size_t offset);

/// What an error of nlohmann's parser says beside its place and the last token, which may be long.
std::string parser_hint(std::string_view what);

}  // namespace minimind::detail
