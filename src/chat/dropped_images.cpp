#include "chat/dropped_images.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <string_view>

#include "base/text.h"
#include "minimind/base/error.h"
#include "minimind/image/decode.h"

namespace minimind {

namespace {

/// A word of a line.
struct TypedWord {
  size_t begin = 0;
  size_t end = 0;       ///< one past its last byte in the line
  std::string meaning;  ///< without quotes and backslashes
};

/// The word at `begin`, where no blank stands. A quote counts at the start of a word only: elsewhere it is an
/// apostrophe.
TypedWord read_word(const std::string& line, size_t begin) {
  TypedWord word{begin, begin, ""};
  const char quote = line[begin];
  if (quote == '\'' || quote == '"') {
    const size_t close = line.find(quote, begin + 1);
    if (close != std::string::npos) {
      word.meaning = line.substr(begin + 1, close - begin - 1);
      word.end = close + 1;
      return word;
    }
  }
  while (word.end < line.size() && kWhiteSpace.find(line[word.end]) == std::string_view::npos) {
    if (line[word.end] == '\\' && word.end + 1 < line.size()) {
      ++word.end;
    }
    word.meaning += line[word.end++];
  }
  return word;
}

std::vector<TypedWord> read_words(const std::string& line) {
  std::vector<TypedWord> words;
  for (size_t at = line.find_first_not_of(kWhiteSpace); at != std::string::npos;
       at = line.find_first_not_of(kWhiteSpace, at)) {
    words.push_back(read_word(line, at));
    at = words.back().end;
  }
  return words;
}

int hex_value(char digit) {
  const auto byte = static_cast<unsigned char>(digit);
  return std::isdigit(byte) != 0 ? digit - '0' : std::tolower(byte) - 'a' + 10;
}

/// `file:///a%20b.png` → `/a b.png`; any other text stays unchanged.
std::string path_of_url(const std::string& word) {
  constexpr std::string_view kScheme = "file://";
  if (!word.starts_with(kScheme)) {
    return word;
  }
  std::string path;
  for (size_t i = kScheme.size(); i < word.size(); ++i) {
    const bool escaped = word[i] == '%' && i + 2 < word.size() &&
                         std::isxdigit(static_cast<unsigned char>(word[i + 1])) != 0 &&
                         std::isxdigit(static_cast<unsigned char>(word[i + 2])) != 0;
    if (escaped) {
      path += static_cast<char>(hex_value(word[i + 1]) * 16 + hex_value(word[i + 2]));
      i += 2;
    } else {
      path += word[i];
    }
  }
  return path;
}

bool is_image_file(const std::string& path) {
  std::error_code failure;
  return has_image_name(path) && std::filesystem::is_regular_file(path, failure);
}

}  // namespace

std::vector<std::string> split_words(const std::string& text) {
  std::vector<std::string> words;
  for (const TypedWord& word : read_words(text)) {
    words.push_back(path_of_url(word.meaning));
  }
  return words;
}

DroppedImages take_images_out(const std::string& line) {
  if (const std::string whole(strip(line)); is_image_file(whole)) {
    return {{whole}, ""};
  }
  DroppedImages found;
  size_t copied = 0;
  for (const TypedWord& word : read_words(line)) {
    const std::string path = path_of_url(word.meaning);
    if (is_image_file(path)) {
      found.images.push_back(path);
      found.text += line.substr(copied, word.begin - copied);
      copied = word.end;
    } else if (path.starts_with('/') && has_image_name(path)) {
      fail(path, ": expected an image file, found no such file");
    }
  }
  found.text = strip(found.text + line.substr(copied));
  return found;
}

}  // namespace minimind
