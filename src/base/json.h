#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace minimind {

using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;  ///< keeps the order of an object's keys

struct JsonLimits {
  size_t bytes = size_t{64} << 20;
  size_t depth = 64;         ///< arrays and objects inside one another
  size_t values = SIZE_MAX;  ///< commas and opening brackets
};

/// Throws Error that begins with `where` if JSON is too long, nested too deep, or has too many values: its parsed form
/// could take many times the memory of its text. Counts only bytes, brackets and commas; the parser finds mistakes.
void check_json_limits(std::string_view text, const std::string& where, const JsonLimits& limits = {});

/// `line L, column C` of a byte offset. Both count from 1, columns in code points.
std::string line_and_column(std::string_view text, size_t offset);

/// Parses JSON within the limits. Throws Error that begins with `where` and names line and column of a mistake.
Json parse_json(std::string_view text, const std::string& where, const JsonLimits& limits = {});
OrderedJson parse_ordered_json(std::string_view text, const std::string& where, const JsonLimits& limits = {});

}  // namespace minimind
