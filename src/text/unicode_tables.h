#pragma once

#include <span>

namespace minimind::text_detail {

/// Both ends are included.
struct CodepointRange {
  char32_t first;
  char32_t last;
};

/// Unicode categories L* and N*, ascending. scripts/make_unicode_tables.py writes the tables.
std::span<const CodepointRange> letter_ranges();
std::span<const CodepointRange> number_ranges();

}  // namespace minimind::text_detail
