#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace minimind {

/// [begin, end) of a line.
struct Range {
  size_t begin = 0;
  size_t end = 0;

  std::string_view of(std::string_view line) const { return line.substr(begin, end - begin); }
};

/// A path that was found in a line.
struct FoundPath {
  Range range;  ///< quotes included
  std::string path;
};

/// Where a name with the dot at `dot` ends in the ending of an image, a document or a video; none if it has another
/// ending or goes on: `a.jpg/b`, `a.jpg~`, `a.jpg\ b.png`, `a.jpg-b.png`.
std::optional<size_t> image_name_end(std::string_view line, size_t dot);

/// The longest text of [first, end) up to `end` that is the path of a file. A quote that opens in it may close at
/// `end`.
std::optional<FoundPath> file_before(std::string_view line, size_t first, size_t end);

/// The text before `end` that seems to be the path of a missing file: what quotes enclose, else the word, with the
/// blanks of a Windows path or an absolute path.
Range seeming_path(std::string_view line, size_t first, size_t end);

/// The range with a pair of quotes or brackets around it.
Range with_pair(std::string_view line, const Range& range);

/// Whether blanks or the ends of the line surround the range.
bool stands_alone(std::string_view line, const Range& range);

/// Where an existing absolute path begins behind letters beyond ASCII, as in Chinese; 0 if none does.
size_t path_behind_letters(std::string_view word);

/// Whether the text holds a letter or a digit, or any character beyond ASCII.
bool has_name_character(std::string_view text);

}  // namespace minimind
