#include "cli/field_text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <optional>
#include <variant>

#include "base/text.h"
#include "minimind/base/error.h"

namespace minimind::detail {
namespace {

[[noreturn]] void refuse(const Field& field, const std::string& expected, const std::string& found) {
  throw UsageError(concat("--", field.name, ": expected ", expected, ", found '", found, "'"));
}

std::string joined_choices(const Field& field, const char* separator) {
  std::string text;
  for (const std::string& choice : field.choices) {
    text += (text.empty() ? "" : separator) + choice;
  }
  return text;
}

void parse(const Field& field, const std::string& text, bool& out) {
  const std::string word = lower_case(text);
  out = word == "true" || word == "1" || word == "yes" || word == "on";
  if (!out && word != "false" && word != "0" && word != "no" && word != "off") {
    refuse(field, "true or false", text);
  }
}

/// A decimal number that fits the type: no octal or hexadecimal form, no infinity.
template <class Number>
void parse_number(const Field& field, const std::string& text, const char* expected, Number& out) {
  const char* begin = text.data() + (text.starts_with('+') ? 1 : 0);
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(begin, end, out);
  if (error != std::errc() || stop != end || begin == end || !std::isfinite(static_cast<double>(out))) {
    refuse(field, expected, text);
  }
}

void parse(const Field& field, const std::string& text, int64_t& out) {
  parse_number(field, text, "a whole number", out);
}

void parse(const Field& field, const std::string& text, double& out) {
  parse_number(field, text, "a number", out);
}

void parse(const Field& field, const std::string& text, std::string& out) {
  if (!field.choices.empty() && std::ranges::count(field.choices, text) == 0) {
    refuse(field, "one of " + joined_choices(field, ", "), text);
  }
  out = text;
}

template <class T>
void set_value(const Field& field, const std::vector<std::string>& words, T& out) {
  if (words.size() != 1) {
    throw UsageError(concat("--", field.name, ": expected one value, found ", words.size()));
  }
  parse(field, words[0], out);
}

void set_value(const Field& field, const std::vector<std::string>& words, bool& out) {
  out = true;
  if (!words.empty() && !words[0].empty()) {
    parse(field, words[0], out);
  }
}

template <class T>
void set_value(const Field& field, const std::vector<std::string>& words, std::optional<T>& out) {
  const std::string word = words.size() == 1 ? lower_case(words[0]) : "";
  out.reset();
  if (word != "none" && word != "null") {
    set_value(field, words, out.emplace());
  }
}

template <class T>
void set_value(const Field& field, const std::vector<std::string>& words, std::vector<T>& out) {
  out.clear();
  for (const std::string& word : words) {
    parse(field, word, out.emplace_back());
  }
}

// In the order of FieldValue.
constexpr std::array kTypeNames = {"BOOL", "INT", "FLOAT", "TEXT", "BOOL", "INT", "FLOAT", "TEXT…", "INT…"};
static_assert(kTypeNames.size() == std::variant_size_v<FieldValue>);

}  // namespace

void set_field_from_words(const Field& field, const std::vector<std::string>& words) {
  std::visit([&](auto* value) { set_value(field, words, *value); }, field.value);
}

std::string field_type_name(const Field& field) {
  return field.choices.empty() ? kTypeNames.at(field.value.index()) : "{" + joined_choices(field, ",") + "}";
}

}  // namespace minimind::detail
