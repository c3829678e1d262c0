#pragma once

#include <string>
#include <vector>

#include "minimind/base/fields.h"

namespace minimind::detail {

/// Sets the field from the words behind its flag (none: the flag stood alone, allowed for bools). Throws UsageError
/// that names the flag, what was expected and what was found.
void set_field_from_words(const Field& field, const std::vector<std::string>& words);

/// `INT`, `FLOAT`, `TEXT`, `{a,b}`, …: the value's place in --help.
std::string field_type_name(const Field& field);

}  // namespace minimind::detail
