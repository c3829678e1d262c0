#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace minimind {

/// Points to the value of a field.
using FieldValue = std::variant<bool*, int64_t*, double*, std::string*, std::optional<bool>*, std::optional<int64_t>*,
                                std::optional<double>*, std::vector<std::string>*, std::vector<int64_t>*>;

/// One setting: its name (the flag without `--`, the JSON key), its value, and its help text.
struct Field {
  std::string name;
  FieldValue value;
  std::string help = {};
  std::vector<std::string> choices = {};  ///< the allowed values of a string; empty: any value
  bool in_help = true;                    ///< --help shows it; false: --help_all alone
  bool host_specific = false;             ///< the value may differ between the hosts of a run
};

/// The settings of an options struct. One list serves flags, --help, --config, --print_config and checkpoints:
///   Fields TrainOptions::fields() { return {{"epochs", &epochs, "passes over the data"}, …}; }
using Fields = std::vector<Field>;

/// A JSON object with all fields in the list's order, indented by two spaces.
std::string fields_to_json(const Fields& fields);

/// Sets the fields that a JSON object names; the other fields keep their values. Throws Error that begins with `where`
/// on malformed JSON (with line and column), on a wrong type, and on an unknown key that `ignored` does not list (with
/// the nearest known key).
void fields_from_json(const Fields& fields, const std::string& json, const std::string& where,
                      const std::vector<std::string>& ignored = {});

/// The value as a user would type it; "" for an empty optional.
std::string field_value_text(const Field& field);

/// The candidate closest to `name` by edit distance; empty if no candidate is near.
std::string nearest_name(const std::string& name, const std::vector<std::string>& candidates);

/// Throws UsageError `--NAME: expected LOWEST to HIGHEST, found VALUE`.
void require_flag_between(const char* name, int64_t value, int64_t lowest, int64_t highest);
/// Throws UsageError `--NAME: expected LOWEST or more, found VALUE`; for a value that is not a number too.
void require_flag_at_least(const char* name, int64_t value, int64_t lowest);
void require_flag_at_least(const char* name, double value, double lowest);

}  // namespace minimind
