#pragma once

#include <cstddef>
#include <iterator>
#include <string>
#include <string_view>

namespace minimind::detail {

/// Iterates over the bytes from `next` on. It moves the caller's `next`, which shows how far a parser has read.
class CountingIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = char;

  explicit CountingIterator(const char*& next) : next_(&next) {}
  char operator*() const { return **next_; }
  CountingIterator& operator++() {
    ++*next_;
    return *this;
  }
  bool operator==(const CountingIterator& other) const { return *next_ == *other.next_; }
  bool operator!=(const CountingIterator& other) const { return *next_ != *other.next_; }

 private:
  const char** next_;
};

/// The character at a byte offset, for messages: `'x'`, `'\u000a'` or `the end of the file`.
std::string character_at(std::string_view text, size_t offset);

/// What an error of nlohmann's parser says beside its place and the last token, which may be long.
std::string parser_hint(std::string_view what);

}  // namespace minimind::detail
