#include "chat/path_text.h"

#include <pwd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <vector>

#include "base/percent.h"
#include "base/text.h"

namespace minimind {

namespace {

constexpr std::string_view kFileScheme = "file:";

bool is_letter(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

bool is_slash(char c) {
  return c == '/' || c == '\\';
}

/// `C:\` or `C:/`.
bool has_drive(std::string_view text) {
  return text.size() > 2 && is_letter(text[0]) && text[1] == ':' && is_slash(text[2]);
}

/// A word of a shell without its quotes and backslashes; none if a quote is open or a blank stands outside of quotes.
std::optional<std::string> shell_word(std::string_view text) {
  std::string word;
  char quote = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quote == '\'' || (quote == '"' && c == '"')) {
      quote = c == quote ? 0 : quote;
      word += quote != 0 ? std::string(1, c) : "";
    } else if (c == '\\' && i + 1 < text.size()) {
      word += text[++i];
    } else if (quote == 0 && (c == '\'' || c == '"')) {
      quote = c;
    } else if (quote == 0 && kWhiteSpace.find(c) != std::string_view::npos) {
      return std::nullopt;
    } else {
      word += c;
    }
  }
  return quote == 0 ? std::optional(word) : std::nullopt;
}

std::string without_backslashes(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    i += text[i] == '\\' && i + 1 < text.size() ? 1U : 0U;
    result += text[i];
  }
  return result;
}

/// `file:///a%20b.png`, `file://localhost/a%20b.png`, `file:/a%20b.png` → `/a b.png`; `file:///C:/a` → `C:/a`.
std::string path_of_url(std::string_view text) {
  if (lower_case(text.substr(0, kFileScheme.size())) != kFileScheme) {
    return std::string(text);
  }
  text.remove_prefix(kFileScheme.size());
  if (text.starts_with("//")) {
    text.remove_prefix(std::min(text.find_first_of("/~", 2), text.size()));
  }
  std::string path = percent_decoded(text);
  return path.starts_with('/') && has_drive(std::string_view(path).substr(1)) ? path.substr(1) : path;
}

/// `~/a` or `~name/a` with the home folder.
std::string with_home(const std::string& text) {
  if (!text.starts_with('~')) {
    return text;
  }
  const size_t end = std::min(text.find('/'), text.size());
  const std::string user = text.substr(1, end - 1);
  const char* home = user.empty() ? std::getenv("HOME") : nullptr;
  if (home == nullptr) {
    const passwd* entry = user.empty() ? nullptr : getpwnam(user.c_str());
    home = entry == nullptr ? nullptr : entry->pw_dir;
  }
  return home == nullptr ? text : home + text.substr(end);
}

/// A Windows path as Linux sees it: a drive below /mnt and WSL's own share as WSL mounts them, else with slashes.
std::string path_of_windows(std::string text) {
  std::ranges::replace(text, '\\', '/');
  if (has_drive(text)) {
    return "/mnt/" + lower_case(text.substr(0, 1)) + text.substr(2);
  }
  const std::string name = lower_case(text);
  for (const std::string_view share : {"//wsl$/", "//wsl.localhost/"}) {
    if (name.starts_with(share)) {
      return text.substr(std::min(text.find('/', share.size()), text.size()));
    }
  }
  return text;
}

bool is_file(const std::string& path) {
  std::error_code failure;
  const std::filesystem::file_status status = std::filesystem::status(path, failure);
  return !failure && std::filesystem::exists(status) && !std::filesystem::is_directory(status);
}

}  // namespace

bool is_explicit_path(std::string_view text) {
  constexpr std::array<std::string_view, 4> kBegins = {"~/", "./", "../", ".\\"};
  const bool begins = std::ranges::any_of(kBegins, [&](std::string_view begin) { return text.starts_with(begin); });
  const bool is_absolute = text.size() > 1 && text[0] == '/' && kWhiteSpace.find(text[1]) == std::string_view::npos;
  const bool is_share = text.starts_with("\\\\") && text.find('\\', 3) != text.npos;
  return begins || is_absolute || is_share || has_drive(text) ||
         lower_case(text.substr(0, kFileScheme.size())) == kFileScheme;
}

bool is_foreign_url(std::string_view text) {
  const std::string name = lower_case(text);
  return (name.find("://") != name.npos && name.find("file://") == name.npos) || name.find("data:image/") != name.npos;
}

std::string path_of_text(std::string_view text) {
  return with_home(path_of_url(shell_word(text).value_or(std::string(text))));
}

std::optional<std::string> existing_file(std::string_view text) {
  std::vector<std::string> meanings = {std::string(text), path_of_text(text)};
  if (text.find('\\') != text.npos) {
    meanings.push_back(without_backslashes(text));
  }
  if (text.find('%') != text.npos) {
    meanings.push_back(percent_decoded(path_of_text(text)));
  }
  if (text.find('\\') != text.npos || text.find(':') != text.npos) {
    meanings.push_back(path_of_windows(path_of_url(text)));
  }
  const auto found = std::ranges::find_if(meanings, is_file);
  return found == meanings.end() ? std::nullopt : std::optional(*found);
}

}  // namespace minimind
