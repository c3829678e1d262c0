#include "minimind/base/fields.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/json.h"
#include "minimind/base/error.h"

namespace minimind {

namespace {

template <class... Functions>
struct Overloaded : Functions... {
  using Functions::operator()...;
};
template <class... Functions>
Overloaded(Functions...) -> Overloaded<Functions...>;

OrderedJson value_to_json(const FieldValue& value) {
  return std::visit(Overloaded{[]<class T>(const std::optional<T>* v) { return *v ? OrderedJson(**v) : OrderedJson(); },
                               [](const auto* v) { return OrderedJson(*v); }},
                    value);
}

class Setter {
 public:
  Setter(const OrderedJson& json, const Field& field, const std::string& where)
      : json_(json), field_(field), where_(where) {}

  void operator()(bool* target) const { expect(json_.is_boolean(), "true or false"), *target = json_.get<bool>(); }
  void operator()(int64_t* target) const { *target = integer(); }
  void operator()(double* target) const { expect(json_.is_number(), "a number"), *target = json_.get<double>(); }
  void operator()(std::string* target) const {
    expect(json_.is_string(), "a text");
    *target = json_.get<std::string>();
    expect(field_.choices.empty() || std::ranges::count(field_.choices, *target) > 0, "one of " + choices());
  }
  void operator()(std::optional<bool>* target) const {
    expect(json_.is_null() || json_.is_boolean(), "true, false or null");
    *target = json_.is_null() ? std::nullopt : std::optional(json_.get<bool>());
  }
  void operator()(std::optional<int64_t>* target) const {
    *target = json_.is_null() ? std::nullopt : std::optional(integer());
  }
  void operator()(std::optional<double>* target) const {
    expect(json_.is_null() || json_.is_number(), "a number or null");
    *target = json_.is_null() ? std::nullopt : std::optional(json_.get<double>());
  }
  void operator()(std::vector<std::string>* target) const {
    const auto text = [](const OrderedJson& item) { return item.is_string(); };
    expect(json_.is_array() && std::ranges::all_of(json_, text), "a list of texts");
    *target = json_.get<std::vector<std::string>>();
  }
  void operator()(std::vector<int64_t>* target) const {
    const auto whole = [](const OrderedJson& item) { return item.is_number_integer(); };
    expect(json_.is_array() && std::ranges::all_of(json_, whole), "a list of whole numbers");
    *target = json_.get<std::vector<int64_t>>();
  }

 private:
  void expect(bool condition, const std::string& expected) const {
    require(condition, where_, ": key \"", field_.name, "\": expected ", expected, ", found ", json_.dump());
  }
  int64_t integer() const {
    if (json_.is_number_float()) {
      // 5e3 is a whole number.
      const double value = json_.get<double>();
      expect(std::abs(value) < 1e15 && value == std::floor(value), "a whole number");
    } else {
      expect(json_.is_number_integer(), "a whole number");
    }
    return json_.get<int64_t>();
  }
  std::string choices() const {
    std::string text;
    for (const std::string& choice : field_.choices) {
      text += (text.empty() ? "" : ", ") + choice;
    }
    return text;
  }

  const OrderedJson& json_;
  const Field& field_;
  const std::string& where_;
};

size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

}  // namespace

std::string fields_to_json(const Fields& fields) {
  OrderedJson object = OrderedJson::object();
  for (const Field& field : fields) {
    object[field.name] = value_to_json(field.value);
  }
  return object.dump(2, ' ', false, OrderedJson::error_handler_t::replace);  // a path may be anything
}

void fields_from_json(const Fields& fields, const std::string& json, const std::string& where,
                      const std::vector<std::string>& ignored) {
  const OrderedJson object = parse_ordered_json(json, where);
  require(object.is_object(), where, ": expected a JSON object, found ", object.type_name());
  std::vector<std::string> names;
  for (const Field& field : fields) {
    names.push_back(field.name);
  }
  for (const auto& [key, value] : object.items()) {
    const auto field = std::ranges::find(fields, key, &Field::name);
    if (field != fields.end()) {
      std::visit(Setter(value, *field, where), field->value);
    } else if (std::ranges::count(ignored, key) == 0) {
      const std::string near = nearest_name(key, names);
      fail(where, ": unknown key \"", key, "\"", near.empty() ? "" : "; was \"" + near + "\" meant?");
    }
  }
}

std::string field_value_text(const Field& field) {
  const OrderedJson value = value_to_json(field.value);
  if (value.is_null()) {
    return "";
  }
  if (!value.is_array()) {
    return value.is_string() ? value.get<std::string>() : value.dump();
  }
  std::string text;
  for (const OrderedJson& item : value) {
    text += (text.empty() ? "" : " ") + (item.is_string() ? item.get<std::string>() : item.dump());
  }
  return text;
}

std::string nearest_name(const std::string& name, const std::vector<std::string>& candidates) {
  std::string best;
  size_t best_distance = std::max<size_t>(2, name.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    const size_t distance = edit_distance(name, candidate);
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

void require_flag_between(const char* name, int64_t value, int64_t lowest, int64_t highest) {
  if (value < lowest || value > highest) {
    throw UsageError(concat("--", name, ": expected ", lowest, " to ", highest, ", found ", value));
  }
}

void require_flag_at_least(const char* name, int64_t value, int64_t lowest) {
  if (value < lowest) {
    throw UsageError(concat("--", name, ": expected ", lowest, " or more, found ", value));
  }
}

void require_flag_at_least(const char* name, double value, double lowest) {
  if (!(value >= lowest)) {
    throw UsageError(concat("--", name, ": expected ", lowest, " or more, found ", value));
  }
}

}  // namespace minimind
