#pragma once

#include <string>
#include <string_view>

namespace minimind {

/// Escapes text for an HTML element or a quoted attribute: `& < > " '` become entities, invalid UTF-8 U+FFFD; control
/// characters that HTML forbids are removed.
std::string escape_html(std::string_view text);

/// `data:TYPE;base64,…`, which holds the bytes inside the page.
std::string data_url(std::string_view media_type, std::string_view bytes);

}  // namespace minimind
