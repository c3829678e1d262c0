#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/json_limits.h"

namespace minimind {

using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;  ///< keeps the order of an object's keys

/// `line L, column C` of a byte offset. Both count from 1, columns in code points.
std::string line_and_column(std::string_view text, size_t offset);

/// Parses JSON within the limits. Throws Error that begins with `where` and names line and column of a mistake.
Json parse_json(std::string_view text, const std::string& where, const JsonLimits& limits = {});
OrderedJson parse_ordered_json(std::string_view text, const std::string& where, const JsonLimits& limits = {});

}  // namespace minimind
