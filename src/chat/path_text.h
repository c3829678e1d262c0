#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace minimind {

/// Whether a text begins as only paths and file URLs do: `/a`, `~/a`, `./a`, `../a`, `C:\a`, `\\host\a`, `file:`.
bool is_explicit_path(std::string_view text);

/// Whether a text holds a URL that names no file: `https://…`, `data:image/…`.
bool is_foreign_url(std::string_view text);

/// The text as a path: without a shell's quotes and backslashes, `file://host/a%20b` as `/a b`, `~` as the home folder.
std::string path_of_text(std::string_view text);

/// The existing file (not a folder) that a text means: as it stands, or as path_of_text(), or with percent signs
/// decoded, or a Windows path with slashes or under WSL's /mnt. None if there is no such file.
std::optional<std::string> existing_file(std::string_view text);

}  // namespace minimind
