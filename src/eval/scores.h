#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace minimind {

/// The spellings of one fact; each of them names it.
using Spellings = std::vector<std::string>;

/// The words that make an answer right: `attributes.json` of the sample data.
///   {"held_out.json": {SAMPLE ID: {"required": [["red", "红色"], ["circle", "圆形"]]}},
///    "categories": {"colour": [["red", "红色"], …], "shape": […]}}
class AttributeRules {
 public:
  /// The rules of one data file; `data_name` is its file name. Throws Error that names the file if its JSON is
  /// malformed or has no key `data_name`.
  static AttributeRules load(const std::filesystem::path& path, const std::string& data_name);
  AttributeRules(std::vector<std::vector<Spellings>> categories,
                 std::map<std::string, std::vector<Spellings>> required);

  /// The facts that a right answer to this sample names; null if the sample has no rule.
  const std::vector<Spellings>* required(const std::string& sample_id) const;
  /// Whether the answer names every required fact and, in the categories of these facts, no other member. Case is
  /// ignored. The longest spelling counts, so `top left` does not name `left`. A Latin word must not begin inside
  /// another word.
  bool is_right(const std::string& answer, const std::vector<Spellings>& required) const;

 private:
  std::vector<std::vector<Spellings>> categories_;
  std::map<std::string, std::vector<Spellings>> required_;
};

/// Whether both texts are equal after white space at their ends is stripped.
bool is_exact(const std::string& answer, const std::string& truth);

/// Harmonic mean of precision and recall over words. A word is a run of letters and digits in any case, or one Chinese
/// or Japanese character. Punctuation is ignored. 1 if both texts have no word, 0 if one text has none.
double token_f1(const std::string& answer, const std::string& truth);

}  // namespace minimind
