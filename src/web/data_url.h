#pragma once

#include <string>
#include <string_view>

namespace minimind {

/// The bytes of a `data:image/…;base64,…` URL. It takes what clients really send: any letter case, line breaks and
/// blanks, percent signs, the URL-safe alphabet, no padding, and no or a general media type. Throws ApiError that names
/// `where`, the place of the URL in the request.
std::string image_of_data_url(std::string_view url, const std::string& where);

}  // namespace minimind
