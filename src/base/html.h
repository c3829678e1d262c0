#pragma once

#include <string>
#include <string_view>

namespace minimind {

/// Text as it may stand in an HTML element or a quoted attribute: `& < > " '` become entities, invalid UTF-8 U+FFFD,
/// and control characters that HTML forbids go.
std::string escape_html(std::string_view text);

/// `data:TYPE;base64,…`, so that a page holds its images itself.
std::string data_url(std::string_view media_type, std::string_view bytes);

}  // namespace minimind
