#include "web/data_url.h"

#include <algorithm>
#include <optional>

#include "base/bytes.h"
#include "base/percent.h"
#include "base/text.h"
#include "web/request_json.h"

namespace minimind {

namespace {

std::string without_blanks(std::string_view text) {
  std::string result(text);
  std::erase_if(result, [](char c) { return kWhiteSpace.find(c) != std::string_view::npos; });
  return result;
}

/// The text in the one form that decode_base64() takes.
std::string standard_base64(std::string_view text) {
  std::string result = without_blanks(text.find('%') == text.npos ? text : percent_decoded(text));
  std::ranges::replace(result, '-', '+');
  std::ranges::replace(result, '_', '/');
  if (!result.ends_with('=')) {
    result.append((4 - result.size() % 4) % 4, '=');
  }
  return result;
}

bool may_be_image(std::string_view kind) {
  const std::string_view type = kind.substr(0, kind.find(';'));
  return kind.ends_with(";base64") &&
         (type.starts_with("image/") || type == "application/octet-stream" || type.empty());
}

}  // namespace

std::string image_of_data_url(std::string_view url, const std::string& where) {
  constexpr std::string_view kScheme = "data:";
  url = strip(url);
  require_that(lower_case(url.substr(0, kScheme.size())) == kScheme, where,
               "an image inside the request, as data:image/…;base64,…, found another URL; this server fetches nothing",
               "unsupported_image_url");
  const size_t comma = url.find(',');
  require_that(comma != url.npos && may_be_image(lower_case(without_blanks(url.substr(5, comma - 5)))), where,
               "data:image/…;base64,…, found a data URL of another form", "invalid_image_url");
  std::optional<std::string> bytes = decode_base64(url.substr(comma + 1));
  if (!bytes) {
    bytes = decode_base64(standard_base64(url.substr(comma + 1)));
  }
  require_that(bytes.has_value(), where, "base64 (RFC 4648), found other characters or a text that is cut short",
               "invalid_base64");
  require_that(!bytes->empty(), where, "an image, found no bytes", "invalid_image");
  return *std::move(bytes);
}

}  // namespace minimind
