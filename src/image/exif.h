#pragma once

#include <string>
#include <string_view>

namespace minimind {

/// A note for the user if the EXIF data of a JPEG, PNG or WebP file say that the photo has to be turned or mirrored,
/// which decode_image() does not do; "" if they do not, or if there are none. Never fails.
std::string turned_by_exif(std::string_view bytes);

}  // namespace minimind
