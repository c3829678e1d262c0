#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace minimind {

/// Where a field's value lives.
using FieldValue = std::variant<bool*, int64_t*, double*, std::string*, std::optional<bool>*, std::optional<int64_t>*,
                                std::optional<double>*, std::vector<std::string>*, std::vector<int64_t>*>;

/// One setting: its name (the flag without `--`, the JSON key), where it lives, and its help.
struct Field {
  std::string name;
  FieldValue value;
  std::string help = {};
  std::vector<std::string> choices = {};  ///< the allowed values of a string; empty: any value
  bool in_help = true;                    ///< --help shows it; false: --help_all alone
  bool host_specific = false;             ///< the value may differ between the hosts of a run
};

/// The one list of an options struct. It serves flags, --help, --config, --print_config and the copy kept in a
/// checkpoint:
///   Fields TrainOptions::fields() { return {{"epochs", &epochs, "passes over the data"}, …}; }
using Fields = std::vector<Field>;

/// A JSON object with every field, in the list's order, two spaces of indentation.
std::string fields_to_json(const Fields& fields);

/// Sets the fields named in a JSON object; the others keep their values. `where` is the file's name for messages.
/// Throws Error on malformed JSON (line and column), on an unknown key that `ignored` does not list (naming the nearest
/// known one) and on a wrong type.
void fields_from_json(const Fields& fields, const std::string& json, const std::string& where,
                      const std::vector<std::string>& ignored = {});

/// The value as a user would type it; empty optionals give "".
std::string field_value_text(const Field& field);

/// Among `candidates`, the one closest to `name` by edit distance; empty if none is near.
std::string nearest_name(const std::string& name, const std::vector<std::string>& candidates);

/// Line and column (from 1, columns in code points) of a byte offset: for messages about malformed JSON.
std::string line_and_column(const std::string& text, size_t offset);

/// Throws UsageError `--NAME: expected LOWEST to HIGHEST, found VALUE`.
void require_flag_between(const char* name, int64_t value, int64_t lowest, int64_t highest);

/// Throws UsageError `--NAME: expected LOWEST or more, found VALUE`.
void require_flag_at_least(const char* name, int64_t value, int64_t lowest);

}  // namespace minimind
