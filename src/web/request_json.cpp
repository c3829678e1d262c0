#include "web/request_json.h"

#include "web/api_error.h"

namespace minimind {

std::string quoted_json(const Json& value) {
  if (value.is_object() || value.is_array()) {
    return value.is_object() ? "an object" : concat("an array of ", value.size());
  }
  const std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  return text.size() > 60 ? text.substr(0, 57) + "…" : text;
}

void require_that(bool condition, const std::string& where, const std::string& expected_and_found,
                  const std::string& code) {
  if (!condition) {
    throw ApiError(400, concat(where, ": expected ", expected_and_found), where, code);
  }
}

void require_field(bool condition, const std::string& where, const std::string& expected, const Json& found,
                   const std::string& code) {
  if (!condition) {
    require_that(false, where, concat(expected, ", found ", quoted_json(found)), code);
  }
}

const Json& json_field(const Json& object, const std::string& name) {
  static const Json kNull;
  const auto found = object.is_object() ? object.find(name) : object.end();
  return found == object.end() ? kNull : *found;
}

}  // namespace minimind
