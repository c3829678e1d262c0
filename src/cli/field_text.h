#pragma once

#include <string>
#include <vector>

#include "minimind/base/fields.h"

namespace minimind::detail {

/// Sets a field from the words after its flag; a bool may have no word. Throws UsageError with the flag, what was
/// expected and what was found.
void set_field_from_words(const Field& field, const std::vector<std::string>& words);

/// The placeholder of the value in --help: `INT`, `FLOAT`, `TEXT`, `TEXT…`, `{a,b}`.
std::string field_type_name(const Field& field);

}  // namespace minimind::detail
