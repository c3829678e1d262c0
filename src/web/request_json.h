#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <type_traits>

#include "base/json.h"
#include "minimind/base/error.h"

namespace minimind {

/// A value as messages quote it, shortened.
std::string quoted_json(const Json& value);

/// Throws ApiError with status 400 unless the condition holds: "WHERE: expected EXPECTED_AND_FOUND".
void require_that(bool condition, const std::string& where, const std::string& expected_and_found,
                  const std::string& code = "invalid_value");
/// As require_that(); the message ends in the value found.
void require_field(bool condition, const std::string& where, const std::string& expected, const Json& found,
                   const std::string& code = "invalid_value");

/// The field's value; JSON's null if it is absent.
const Json& json_field(const Json& object, const std::string& name);

template <class Value>
bool json_has_type(const Json& json) {
  if constexpr (std::is_same_v<Value, bool>) {
    return json.is_boolean();
  } else if constexpr (std::is_same_v<Value, double>) {
    return json.is_number() && std::isfinite(json.get<double>());
  } else {
    return json.is_number_unsigned() ? json.get<uint64_t>() <= std::numeric_limits<int64_t>::max()
                                     : json.is_number_integer();
  }
}

/// Reads a field into `value`, which stays if the field is absent or null. `where` ends in the field's name. Returns
/// whether it was read. Throws if its type is wrong or `fits` refuses the value.
template <class Value>
bool read_json_field(const Json& object, const std::string& where, const std::string& expected, Value& value,
                     const std::type_identity_t<std::function<bool(Value)>>& fits = {}) {
  const Json& found = json_field(object, where.substr(where.rfind('.') + 1));
  if (found.is_null()) {
    return false;
  }
  require_field(json_has_type<Value>(found) && (!fits || fits(found.get<Value>())), where, expected, found);
  value = found.get<Value>();
  return true;
}

}  // namespace minimind
