#pragma once

#include <string>

#include "minimind/image/image.h"

namespace minimind {

/// A PNG file. Throws Error for an image of 512 MiB or more.
std::string encode_png(const Image& image);

/// A JPEG file. Throws Error unless the quality is 1 to 100 and both sides are at most 65500.
std::string encode_jpeg(const Image& image, int quality);

}  // namespace minimind
