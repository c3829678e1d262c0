#include "data/json_scanner.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

#include "base/utf8.h"
#include "minimind/base/error.h"

namespace minimind::detail {

namespace {

// Bytes that a string may hold as they are and that need no look at their neighbours.
constexpr std::array<bool, 256> make_plain_table() {
  std::array<bool, 256> table{};
  for (size_t byte = 0x20; byte < 0x80; ++byte) {
    table[byte] = byte != '"' && byte != '\\';
  }
  return table;
}
constexpr std::array<bool, 256> kPlain = make_plain_table();

bool is_space(char c) {
  return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool is_continuation(unsigned char byte) {
  return (byte & 0xC0U) == 0x80U;
}

}  // namespace

JsonScanner::JsonScanner(std::string_view text, std::string where) : text_(text), where_(std::move(where)) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (text_.substr(0, kByteOrderMark.size()) == kByteOrderMark) {
    position_ = kByteOrderMark.size();
  }
}

void JsonScanner::skip_space() {
  while (position_ < text_.size() && is_space(text_[position_])) {
    ++position_;
  }
}

char JsonScanner::peek() {
  skip_space();
  return position_ < text_.size() ? text_[position_] : '\0';
}

bool JsonScanner::consume(char wanted) {
  if (peek() != wanted || position_ >= text_.size()) {
    return false;
  }
  ++position_;
  return true;
}

void JsonScanner::expect(char wanted, const char* expected) {
  if (!consume(wanted)) {
    fail_here(expected);
  }
}

void JsonScanner::expect_end() {
  skip_space();
  if (position_ < text_.size()) {
    fail_here("the end of the file");
  }
}

std::string JsonScanner::place(size_t offset) const {
  const std::string_view before = text_.substr(0, offset);
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const size_t newline = before.rfind('\n');
  const std::string_view row = newline == std::string_view::npos ? before : before.substr(newline + 1);
  const auto column =
      1 + std::count_if(row.begin(), row.end(), [](char c) { return !is_continuation(static_cast<unsigned char>(c)); });
  return concat("line ", line, ", column ", column);
}

std::string JsonScanner::kind_of_next() {
  switch (peek()) {
    case '"':
      return "a string";
    case '{':
      return "an object";
    case '[':
      return "an array";
    case 't':
    case 'f':
      return "a boolean";
    case 'n':
      return "null";
    default:
      return "a number";
  }
}

void JsonScanner::fail_here(const std::string& expected) const {
  std::string found = "the end of the file";
  if (position_ < text_.size()) {
    const auto byte = static_cast<unsigned char>(text_[position_]);
    if (byte < 0x20 || byte == 0x7F) {
      char code[16];
      std::snprintf(code, sizeof(code), "U+%04X", byte);
      found = byte == '\n' ? "a line break" : code;
    } else if (byte < 0x80) {
      found = concat("'", static_cast<char>(byte), "'");
    } else {
      const size_t length = utf8_length(position_);
      char code[16];
      std::snprintf(code, sizeof(code), "0x%02X", byte);
      found = length > 0 ? concat("'", text_.substr(position_, length), "'") : concat("the byte ", code);
    }
  }
  fail(where_, ": ", place(position_), ": expected ", expected, ", found ", found);
}

// Bytes of the character that starts at `at`; 0 if it is not valid UTF-8 (overlong forms, surrogates and numbers above
// U+10FFFF included).
size_t JsonScanner::utf8_length(size_t at) const {
  const auto byte = [&](size_t i) {
    return at + i < text_.size() ? static_cast<unsigned char>(text_[at + i]) : static_cast<unsigned char>(0);
  };
  const unsigned char lead = byte(0);
  if (lead < 0x80) {
    return 1;
  }
  if (lead >= 0xC2 && lead <= 0xDF) {
    return is_continuation(byte(1)) ? 2 : 0;
  }
  if (lead >= 0xE0 && lead <= 0xEF) {
    const unsigned char low = lead == 0xE0 ? 0xA0 : 0x80;
    const unsigned char high = lead == 0xED ? 0x9F : 0xBF;
    return byte(1) >= low && byte(1) <= high && is_continuation(byte(2)) ? 3 : 0;
  }
  if (lead >= 0xF0 && lead <= 0xF4) {
    const unsigned char low = lead == 0xF0 ? 0x90 : 0x80;
    const unsigned char high = lead == 0xF4 ? 0x8F : 0xBF;
    return byte(1) >= low && byte(1) <= high && is_continuation(byte(2)) && is_continuation(byte(3)) ? 4 : 0;
  }
  return 0;
}

void JsonScanner::read_string(std::string& out) {
  out.clear();
  met_lone_surrogate_ = false;
  expect('"', "a string");
  size_t run = position_;
  while (true) {
    while (position_ < text_.size() && kPlain[static_cast<unsigned char>(text_[position_])]) {
      ++position_;
    }
    const auto byte = position_ < text_.size() ? static_cast<unsigned char>(text_[position_]) : 0U;
    if (byte >= 0x80) {
      const size_t length = utf8_length(position_);
      if (length == 0) {
        fail_here("valid UTF-8");
      }
      position_ += length;
      continue;
    }
    out.append(text_.substr(run, position_ - run));
    if (byte == '"') {
      ++position_;
      return;
    }
    if (byte != '\\') {
      fail_here(position_ < text_.size() ? "no control character in a string (escape it)" : "the end of the string");
    }
    ++position_;
    read_escape(out);
    run = position_;
  }
}

void JsonScanner::read_key(std::string& out) {
  if (peek() != '"') {
    fail_here("a key in quotes");
  }
  read_string(out);
  expect(':', "':' after the key");
}

void JsonScanner::read_escape(std::string& out) {
  constexpr std::string_view kNames = "\"\\/bfnrt";
  constexpr std::string_view kValues = "\"\\/\b\f\n\r\t";
  const char name = position_ < text_.size() ? text_[position_] : '\0';
  const size_t index = kNames.find(name);
  if (name != '\0' && index != std::string_view::npos) {
    out.push_back(kValues[index]);
    ++position_;
    return;
  }
  if (name != 'u') {
    fail_here("one of \" \\ / b f n r t u after a backslash");
  }
  ++position_;
  char32_t code = read_hex4();
  if (code >= 0xD800 && code <= 0xDBFF && text_.substr(position_, 2) == "\\u") {
    const size_t second = position_;
    position_ += 2;
    const char32_t low = read_hex4();
    if (low >= 0xDC00 && low <= 0xDFFF) {
      code = 0x10000 + ((code - 0xD800) << 10U) + (low - 0xDC00);
    } else {
      position_ = second;
    }
  }
  if (code >= 0xD800 && code <= 0xDFFF) {
    met_lone_surrogate_ = true;
    code = 0xFFFD;
  }
  append_utf8(out, code);
}

unsigned JsonScanner::read_hex4() {
  unsigned value = 0;
  for (int i = 0; i < 4; ++i) {
    const char c = position_ < text_.size() ? text_[position_] : '\0';
    const char lower = static_cast<char>(c | 0x20);
    if (is_digit(c)) {
      value = value * 16 + static_cast<unsigned>(c - '0');
    } else if (lower >= 'a' && lower <= 'f') {
      value = value * 16 + static_cast<unsigned>(lower - 'a' + 10);
    } else {
      fail_here("four hexadecimal digits after \\u");
    }
    ++position_;
  }
  return value;
}

std::string_view JsonScanner::read_number() {
  skip_space();
  const size_t start = position_;
  const auto next_is = [&](auto&& test) { return position_ < text_.size() && test(text_[position_]); };
  const auto digits = [&](const char* expected) {
    if (!next_is(is_digit)) {
      fail_here(expected);
    }
    while (next_is(is_digit)) {
      ++position_;
    }
  };
  if (next_is([](char c) { return c == '-'; })) {
    ++position_;
  }
  if (next_is([](char c) { return c == '0'; })) {
    ++position_;
  } else {
    digits("a value");
  }
  if (next_is([](char c) { return c == '.'; })) {
    ++position_;
    digits("a digit after the point");
  }
  if (next_is([](char c) { return c == 'e' || c == 'E'; })) {
    ++position_;
    if (next_is([](char c) { return c == '+' || c == '-'; })) {
      ++position_;
    }
    digits("a digit of the exponent");
  }
  return text_.substr(start, position_ - start);
}

void JsonScanner::skip_literal(std::string_view literal) {
  for (const char c : literal) {
    if (position_ >= text_.size() || text_[position_] != c) {
      fail_here(concat("'", literal, "'"));
    }
    ++position_;
  }
}

void JsonScanner::skip_scalar() {
  switch (peek()) {
    case '"':
      return read_string(scratch_);
    case 't':
      return skip_literal("true");
    case 'f':
      return skip_literal("false");
    case 'n':
      return skip_literal("null");
    default:
      read_number();
  }
}

// Without recursion: a hostile file of a million brackets must not exhaust the stack.
void JsonScanner::skip_value() {
  std::string open;
  while (true) {
    const char next = peek();
    if (next == '{' || next == '[') {
      ++position_;
      open.push_back(next == '{' ? '}' : ']');
      if (!consume(open.back())) {
        if (next == '{') {
          read_key(scratch_);
        }
        continue;
      }
      open.pop_back();
    } else {
      skip_scalar();
    }
    while (!open.empty() && consume(open.back())) {
      open.pop_back();
    }
    if (open.empty()) {
      return;
    }
    expect(',', open.back() == '}' ? "',' or '}'" : "',' or ']'");
    if (open.back() == '}') {
      read_key(scratch_);
    }
  }
}

}  // namespace minimind::detail
