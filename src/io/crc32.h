#pragma once

#include <cstdint>
#include <string_view>

namespace minimind::detail {

/// The zip format's checksum (CRC-32, polynomial 0xEDB88320 reflected).
uint32_t crc32(std::string_view bytes);

}  // namespace minimind::detail
