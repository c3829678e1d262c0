#include "chat/image_paths.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <string_view>
#include <system_error>

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

/// `file:///a%20b.png` → `/a b.png`; any other text stays unchanged.
std::string path_of_url(const std::string& word) {
  constexpr std::string_view kScheme = "file://";
  if (!word.starts_with(kScheme)) {
    return word;
  }
  std::string path;
  for (size_t i = kScheme.size(); i < word.size(); ++i) {
    const char* digits = &word[i] + 1;
    unsigned byte = 0;
    if (word[i] == '%' && i + 2 < word.size() && std::from_chars(digits, digits + 2, byte, 16).ptr == digits + 2) {
      path += static_cast<char>(byte);
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

bool is_folder(const std::filesystem::path& path) {
  std::error_code failure;
  return std::filesystem::is_directory(path, failure);
}

/// Entries of a folder for which `wanted` is true, in name order.
template <class Wanted>
std::vector<std::filesystem::path> sorted_entries(const std::filesystem::path& folder, const Wanted& wanted) {
  std::error_code failure;
  std::vector<std::filesystem::path> entries;
  for (std::filesystem::directory_iterator entry(folder, failure), end; !failure && entry != end;
       entry.increment(failure)) {
    if (wanted(entry->path())) {
      entries.push_back(entry->path());
    }
  }
  require(!failure, folder.string(), ": expected a folder of images, found: ", failure.message());
  std::sort(entries.begin(), entries.end());
  return entries;
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

std::vector<ImageGroup> image_groups(const std::filesystem::path& folder, bool together) {
  require(is_folder(folder), folder.string(), ": expected a folder of images, found no such folder");
  const auto is_image = [](const std::filesystem::path& path) { return !is_folder(path) && has_image_name(path); };
  std::vector<ImageGroup> groups;
  const auto add_together = [&](const std::filesystem::path& from) {
    ImageGroup group{from.filename().string(), {}};
    for (const auto& image : sorted_entries(from, is_image)) {
      group.images.push_back(image.string());
    }
    if (!group.images.empty()) {
      groups.push_back(std::move(group));
    }
  };
  if (together) {
    for (const auto& subfolder : sorted_entries(folder, is_folder)) {
      add_together(subfolder);
    }
    if (groups.empty()) {
      add_together(folder);
    }
  } else {
    for (const auto& image : sorted_entries(folder, is_image)) {
      groups.push_back({image.filename().string(), {image.string()}});
    }
  }
  require(!groups.empty(), folder.string(), ": expected images (jpg, png, bmp, gif, webp)",
          together ? " in subfolders" : "", ", found no image");
  return groups;
}

}  // namespace minimind
