#include "chat/path_search.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/text.h"
#include "chat/path_text.h"
#include "minimind/image/decode.h"

namespace minimind {

namespace {

/// A path has at most this many bytes.
constexpr size_t kLongestPath = 1024;

/// Endings of images, documents and videos that no decoder here reads; a file of such a name is told, not passed over.
constexpr std::array<std::string_view, 24> kForeignEndings = {
    ".heic", ".heif", ".avif", ".tif", ".tiff", ".jxl", ".jp2", ".svg", ".ico",  ".psd", ".pdf",  ".dng",
    ".cr2",  ".cr3",  ".nef",  ".arw", ".raw",  ".mp4", ".m4v", ".mov", ".webm", ".mkv", ".mpeg", ".avi"};

constexpr std::array<std::pair<std::string_view, std::string_view>, 14> kPairs = {{{"(", ")"},
                                                                                   {"[", "]"},
                                                                                   {"{", "}"},
                                                                                   {"<", ">"},
                                                                                   {"\"", "\""},
                                                                                   {"'", "'"},
                                                                                   {"`", "`"},
                                                                                   {"“", "”"},
                                                                                   {"‘", "’"},
                                                                                   {"「", "」"},
                                                                                   {"『", "』"},
                                                                                   {"《", "》"},
                                                                                   {"【", "】"},
                                                                                   {"（", "）"}}};

bool is_blank(char c) {
  return kWhiteSpace.find(c) != std::string_view::npos;
}
bool is_foreign_letter(char c) {
  return static_cast<unsigned char>(c) >= 0x80;
}
bool is_word_character(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

/// Whether the blank or quote at `at` is escaped by a backslash.
bool is_escaped(std::string_view line, size_t at) {
  return at > 0 && line[at - 1] == '\\';
}

/// Where a name with the dot at `dot` ends in an image's ending; none if it does not.
std::optional<size_t> name_end(std::string_view line, size_t dot) {
  if (dot == 0 || is_blank(line[dot - 1]) || std::string_view("/\\.\"'`([{<").find(line[dot - 1]) != line.npos) {
    return std::nullopt;
  }
  size_t end = dot + 1;
  while (end < line.size() && is_word_character(line[end])) {
    ++end;
  }
  const std::string ending = lower_case(line.substr(dot, end - dot));
  const bool is_known = has_image_name("x" + ending) || std::ranges::count(kForeignEndings, ending) > 0;
  return is_known ? std::optional(end) : std::nullopt;
}

/// Whether a path may begin at `at`: not in the middle of a word, a path or a character.
bool may_begin(std::string_view line, size_t at) {
  if (at == 0) {
    return true;
  }
  const char before = line[at - 1];
  const bool is_inside =
      is_word_character(before) || std::string_view("/\\.-~%").find(before) != std::string_view::npos;
  return !is_blank(line[at]) && (line[at] & 0xC0) != 0x80 && !is_inside &&
         !(is_blank(before) && is_escaped(line, at - 1));
}

}  // namespace

std::optional<size_t> image_name_end(std::string_view line, size_t dot) {
  const std::optional<size_t> end = name_end(line, dot);
  if (!end) {
    return std::nullopt;
  }
  const auto follows = [&](size_t offset) { return *end + offset < line.size() ? line[*end + offset] : ' '; };
  bool goes_on = std::string_view("/~\\").find(follows(0)) != line.npos;
  if (std::string_view(".-").find(follows(0)) != line.npos && is_word_character(follows(1))) {
    const std::string_view near = line.substr(0, std::min(*end + kLongestPath, line.size()));
    const std::string_view word = near.substr(0, std::min(near.find_first_of(kWhiteSpace, *end), near.size()));
    for (size_t next = word.find('.', *end); next != word.npos && !goes_on; next = word.find('.', next + 1)) {
      goes_on = name_end(word, next).has_value();
    }
  }
  return goes_on ? std::nullopt : end;
}

std::optional<FoundPath> file_before(std::string_view line, size_t first, size_t end) {
  const bool is_quoted = end < line.size() && (line[end] == '\'' || line[end] == '"');
  const size_t from = std::max(first, end - std::min(end, kLongestPath));
  for (size_t begin = from; begin < end; ++begin) {
    if (!may_begin(line, begin)) {
      continue;
    }
    for (const size_t stop : {end + (is_quoted ? 1U : 0U), end}) {
      if (std::optional<std::string> path = existing_file(line.substr(begin, stop - begin))) {
        return FoundPath{{begin, stop}, *std::move(path)};
      }
    }
  }
  return std::nullopt;
}

Range seeming_path(std::string_view line, size_t first, size_t end) {
  if (end < line.size() && (line[end] == '\'' || line[end] == '"')) {
    const size_t open = line.rfind(line[end], end - 1);
    if (open != line.npos && open >= first && may_begin(line, open)) {
      return {open + 1, end};
    }
  }
  size_t begin = end;
  const auto ends_word = [&](size_t at) {
    return (is_blank(line[at]) && !is_escaped(line, at)) || std::string_view("\"'`([{<|").find(line[at]) != line.npos;
  };
  while (begin > first && !ends_word(begin - 1)) {
    --begin;
  }
  const std::string_view word = line.substr(begin, end - begin);
  if (word.find_first_of("/\\") == word.npos || is_explicit_path(word) || is_foreign_url(word)) {
    return {begin, end};
  }
  for (size_t at = begin; at-- > first;) {
    if (!is_blank(line[at]) && may_begin(line, at) && is_explicit_path(line.substr(at, end - at))) {
      return {at, end};
    }
  }
  return {begin, end};
}

Range with_pair(std::string_view line, const Range& range) {
  for (const auto& [open, close] : kPairs) {
    if (line.substr(0, range.begin).ends_with(open) && line.substr(range.end).starts_with(close)) {
      return {range.begin - open.size(), range.end + close.size()};
    }
  }
  return range;
}

bool stands_alone(std::string_view line, const Range& range) {
  return (range.begin == 0 || is_blank(line[range.begin - 1])) &&
         (range.end == line.size() || is_blank(line[range.end]));
}

size_t path_behind_letters(std::string_view word) {
  for (size_t at = 1; at < std::min(word.size(), kLongestPath); ++at) {
    const std::string_view rest = word.substr(at);
    std::error_code failure;
    if (is_foreign_letter(word[at - 1]) && is_explicit_path(rest) &&
        std::filesystem::exists(path_of_text(rest), failure)) {
      return at;
    }
  }
  return 0;
}

bool has_name_character(std::string_view text) {
  return std::ranges::any_of(text, [](char c) { return is_word_character(c) || is_foreign_letter(c); });
}

}  // namespace minimind
