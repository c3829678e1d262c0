#include "cli/field_text.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <optional>
#include <type_traits>

#include "minimind/base/error.h"

namespace minimind::detail {
namespace {

[[noreturn]] void wrong_value(const Field& field, const std::string& expected, const std::string& found) {
  throw UsageError(concat("--", field.name, ": expected ", expected, ", found '", found, "'"));
}

std::string to_lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : static_cast<char>(c);
  });
  return text;
}

void parse(const Field& field, const std::string& text, bool& out) {
  const std::string word = to_lower(text);
  if (word == "true" || word == "1" || word == "yes" || word == "on") {
    out = true;
  } else if (word == "false" || word == "0" || word == "no" || word == "off") {
    out = false;
  } else {
    wrong_value(field, "true or false", text);
  }
}

void parse(const Field& field, const std::string& text, int64_t& out) {
  const char* begin = text.data() + (text.starts_with('+') ? 1 : 0);
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(begin, end, out);
  if (error != std::errc() || stop != end || begin == end) {
    wrong_value(field, "a whole number", text);
  }
}

void parse(const Field& field, const std::string& text, double& out) {
  const char* begin = text.data() + (text.starts_with('+') ? 1 : 0);
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(begin, end, out);
  if (error != std::errc() || stop != end || begin == end || !std::isfinite(out)) {
    wrong_value(field, "a number", text);
  }
}

void parse(const Field& field, const std::string& text, std::string& out) {
  if (!field.choices.empty() && std::find(field.choices.begin(), field.choices.end(), text) == field.choices.end()) {
    std::string allowed;
    for (const std::string& choice : field.choices) {
      allowed += (allowed.empty() ? "" : ", ") + choice;
    }
    wrong_value(field, "one of " + allowed, text);
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
  if (words.empty() || words[0].empty()) {
    out = true;
    return;
  }
  parse(field, words[0], out);
}

template <class T>
void set_value(const Field& field, const std::vector<std::string>& words, std::optional<T>& out) {
  if (words.size() == 1 && (to_lower(words[0]) == "none" || to_lower(words[0]) == "null")) {
    out.reset();
    return;
  }
  T value{};
  set_value(field, words, value);
  out = value;
}

template <class T>
void set_value(const Field& field, const std::vector<std::string>& words, std::vector<T>& out) {
  out.clear();
  for (const std::string& word : words) {
    T value{};
    parse(field, word, value);
    out.push_back(std::move(value));
  }
}

}  // namespace

void set_field_from_words(const Field& field, const std::vector<std::string>& words) {
  std::visit([&](auto* value) { set_value(field, words, *value); }, field.value);
}

std::string field_type_name(const Field& field) {
  if (!field.choices.empty()) {
    std::string text;
    for (const std::string& choice : field.choices) {
      text += (text.empty() ? "{" : ",") + choice;
    }
    return text + "}";
  }
  return std::visit(
      [](auto* value) -> std::string {
        using T = std::remove_pointer_t<decltype(value)>;
        if constexpr (std::is_same_v<T, bool> || std::is_same_v<T, std::optional<bool>>) {
          return "BOOL";
        } else if constexpr (std::is_same_v<T, int64_t> || std::is_same_v<T, std::optional<int64_t>>) {
          return "INT";
        } else if constexpr (std::is_same_v<T, double> || std::is_same_v<T, std::optional<double>>) {
          return "FLOAT";
        } else if constexpr (std::is_same_v<T, std::vector<int64_t>>) {
          return "INT…";
        } else if constexpr (std::is_same_v<T, std::vector<std::string>>) {
          return "TEXT…";
        } else {
          return "TEXT";
        }
      },
      field.value);
}

}  // namespace minimind::detail
