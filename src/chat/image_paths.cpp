#include "chat/image_paths.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/text.h"
#include "chat/path_search.h"
#include "chat/path_text.h"
#include "minimind/base/error.h"
#include "minimind/image/decode.h"

namespace minimind {

namespace {

/// A line has at most this many paths that are looked at.
constexpr size_t kMostPaths = 256;

std::string shortened(std::string_view text) {
  constexpr size_t kShown = 200;
  return text.size() > kShown ? concat(text.substr(0, kShown), "…") : std::string(text);
}

std::string note_of_url(std::string_view url) {
  return concat(shortened(url),
                ": not seen; this program fetches no URL. Save the image and give the path of its file");
}

/// The search through one line.
class LineSearch {
 public:
  explicit LineSearch(std::string_view line) : line_(line) {}

  DroppedImages run() {
    size_t looked_at = 0;
    for (size_t dot = line_.find('.'); dot != line_.npos && looked_at < kMostPaths; dot = line_.find('.', dot + 1)) {
      if (const std::optional<size_t> end = dot < done_ ? std::nullopt : image_name_end(line_, dot)) {
        ++looked_at;
        take_or_note(*end);
        done_ = std::max(done_, *end);
      }
    }
    if (looked_at == kMostPaths) {
      found_.notes.push_back(concat("only the first ", kMostPaths, " names of images in a line are looked at"));
    }
    note_other_words();
    std::string text;
    size_t copied = 0;
    for (const Range& range : taken_) {
      text += line_.substr(copied, range.begin - copied);
      copied = range.end;
    }
    found_.text = strip(text + std::string(line_.substr(copied)));
    return std::move(found_);
  }

 private:
  void take_or_note(size_t end) {
    if (std::optional<FoundPath> file = file_before(line_, done_, end)) {
      if (!stands_alone(line_, file->range)) {
        found_.notes.push_back(concat(file->path, ": taken as an image of the question"));
      }
      found_.images.push_back(std::move(file->path));
      taken_.push_back(with_pair(line_, file->range));
      done_ = taken_.back().end;
      return;
    }
    const Range range = seeming_path(line_, done_, end);
    named_.push_back(range);
    const std::string_view text = range.of(line_);
    if (is_foreign_url(text)) {
      found_.notes.push_back(note_of_url(text));
      return;
    }
    const std::string path = path_of_text(text);
    const bool is_word = path.find_first_of(kWhiteSpace) == path.npos;
    require(!(is_word && is_explicit_path(text)), shortened(text), ": expected an image file, found no such file");
    found_.notes.push_back(concat(shortened(text), ": not seen as an image; there is no such file"));
  }

  /// Names what else begins as a path or a URL, and folders.
  void note_other_words() {
    for (size_t at = line_.find_first_not_of(kWhiteSpace); at != line_.npos;
         at = line_.find_first_not_of(kWhiteSpace, at)) {
      const size_t end = std::min(line_.find_first_of(kWhiteSpace, at), line_.size());
      const Range word{at, end};
      const auto overlaps = [&](const Range& other) { return other.begin < word.end && word.begin < other.end; };
      if (std::ranges::none_of(taken_, overlaps) && std::ranges::none_of(named_, overlaps)) {
        note_word(strip(word.of(line_), "\"'`()[]{}<>,;!?"));
      }
      at = end;
    }
  }

  void note_word(std::string_view word) {
    const bool is_path =
        is_explicit_path(word) && word.find_first_of("/\\", 1) != word.npos && has_name_character(word);
    const size_t glued = is_path ? 0 : path_behind_letters(word);
    word.remove_prefix(glued);
    std::error_code failure;
    if (is_foreign_url(word)) {
      found_.notes.push_back(note_of_url(word));
    } else if (word.find('/') != word.npos && has_name_character(word) &&
               std::filesystem::is_directory(path_of_text(word), failure)) {
      found_.notes.push_back(concat(shortened(word), ": a folder, so not seen; --image_dir asks about its images"));
    } else if (is_path || glued > 0) {
      found_.notes.push_back(concat(shortened(word), existing_file(word)
                                                         ? ": not seen, for its name is none of an image; /image PATH "
                                                           "takes it all the same"
                                                         : ": not seen as an image; there is no such file"));
    }
  }

  std::string_view line_;
  size_t done_ = 0;  ///< what is before belongs to a path that was taken or named
  std::vector<Range> taken_;
  std::vector<Range> named_;
  DroppedImages found_;
};

/// The end of the word at `begin`: blanks inside quotes or behind backslashes belong to it.
size_t word_end(std::string_view text, size_t begin) {
  const char quote = text[begin];
  size_t end = begin;
  if ((quote == '\'' || quote == '"') && text.find(quote, begin + 1) != text.npos) {
    end = text.find(quote, begin + 1) + 1;
  }
  while (end < text.size() && kWhiteSpace.find(text[end]) == text.npos) {
    end += text[end] == '\\' && end + 1 < text.size() ? 2U : 1U;
  }
  return end;
}

}  // namespace

std::vector<std::string> split_paths(const std::string& text) {
  if (const std::optional<std::string> whole = existing_file(strip(text))) {
    return {*whole};
  }
  std::vector<std::string> paths;
  for (size_t at = text.find_first_not_of(kWhiteSpace); at != text.npos; at = text.find_first_not_of(kWhiteSpace, at)) {
    const size_t end = word_end(text, at);
    const std::string_view word = std::string_view(text).substr(at, end - at);
    std::optional<std::string> path = existing_file(word);
    path = path ? path : existing_file(strip(word, ",;"));
    const bool is_windows = word.find(":\\") != word.npos || word.starts_with("\\\\");
    paths.push_back(path ? *path : is_windows ? std::string(word) : path_of_text(word));
    at = end;
  }
  return paths;
}

DroppedImages take_images_out(const std::string& line) {
  const std::string_view whole = strip(line);
  if (const std::optional<std::string> path = existing_file(whole);
      path && (has_image_name(*path) || is_explicit_path(whole))) {
    return {{*path}, "", {}};
  }
  return LineSearch(line).run();
}

}  // namespace minimind
