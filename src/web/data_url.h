#pragma once

#include <string>
#include <string_view>

namespace minimind {

/// The bytes of a `data:image/…;base64,…` URL. Throws ApiError that names `where`.
std::string image_of_data_url(std::string_view url, const std::string& where);

}  // namespace minimind
