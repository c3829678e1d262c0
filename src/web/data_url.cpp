#include "web/data_url.h"

#include <optional>

#include "base/bytes.h"
#include "web/api_error.h"

namespace minimind {

std::string image_of_data_url(std::string_view url, const std::string& where) {
  const auto refuse = [&](const char* expected, const char* code) {
    throw ApiError(400, concat(where, ": expected ", expected), where, code);
  };
  if (!url.starts_with("data:")) {
    refuse("an image inside the request, as data:image/…;base64,…, found another URL; this server fetches nothing",
           "unsupported_image_url");
  }
  const size_t comma = url.find(',');
  const std::string_view kind = url.substr(0, comma);
  if (comma == std::string_view::npos || !kind.starts_with("data:image/") || !kind.ends_with(";base64")) {
    refuse("data:image/…;base64,…, found a data URL of another form", "invalid_image_url");
  }
  std::optional<std::string> bytes = decode_base64(url.substr(comma + 1));
  if (!bytes) {
    refuse("base64 (A-Z a-z 0-9 + / with = padding and no blanks), found other text", "invalid_base64");
  }
  if (bytes->empty()) {
    refuse("an image, found no bytes", "invalid_image");
  }
  return *std::move(bytes);
}

}  // namespace minimind
