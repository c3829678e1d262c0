#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace minimind::detail {

/// Walks strict JSON (RFC 8259) from front to back without building anything: for files too large for a document tree.
/// Every error is an Error with `where`, line, column, what was expected and what was found.
class JsonScanner {
 public:
  JsonScanner(std::string_view text, std::string where);

  /// The next character after white space, not consumed; '\0' at the end.
  char peek();
  /// Consumes `wanted` if it comes next.
  bool consume(char wanted);
  /// Consumes `wanted`; `expected` stands in the message otherwise.
  void expect(char wanted, const char* expected);
  /// Appends the decoded string to `out` after clearing it. Half a pair of surrogate escapes, which the grammar allows,
  /// becomes U+FFFD.
  void read_string(std::string& out);
  /// Whether the last read_string() met half a pair of surrogate escapes.
  bool met_lone_surrogate() const { return met_lone_surrogate_; }
  /// A key of an object and the colon after it.
  void read_key(std::string& out);
  /// The number as it is written.
  std::string_view read_number();
  /// Any value, checked and dropped; nesting is bounded by memory alone.
  void skip_value();
  /// After the last value: only white space may follow.
  void expect_end();

  size_t offset() const { return position_; }
  [[noreturn]] void fail_here(const std::string& expected) const;
  /// `line 3, column 17` of an offset; columns count code points.
  std::string place(size_t offset) const;
  /// What begins here, for messages: `a string`, `an object` …
  std::string kind_of_next();

 private:
  void skip_space();
  void skip_literal(std::string_view literal);
  void skip_scalar();
  void read_escape(std::string& out);
  unsigned read_hex4();
  size_t utf8_length(size_t at) const;

  std::string_view text_;
  std::string where_;
  size_t position_ = 0;
  bool met_lone_surrogate_ = false;
  std::string scratch_;
};

}  // namespace minimind::detail
