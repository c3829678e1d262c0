#pragma once

#include <optional>
#include <string_view>

namespace minimind {

/// What a file is whose bytes are not those of the format that was expected.
struct FileFormat {
  std::string_view name;  ///< "a HEIC image"
  std::string_view cure;  ///< "convert it to JPEG or PNG"
};

/// Recognises a file by its first bytes (300 serve all formats), for error messages: images, archives, texts of another
/// encoding, and what failed downloads leave. nullopt if the format is unknown.
std::optional<FileFormat> recognise_format(std::string_view head);

}  // namespace minimind
