#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace minimind {

/// The spellings of one fact.
using Spellings = std::vector<std::string>;

/// Which words make an answer right: `attributes.json` of the sample data.
///   {"held_out.json": {SAMPLE ID: {"required": [["red", "红色"], ["circle", "圆形"]]}},
///    "categories": {"colour": [["red", "红色"], …], "shape": […]}}
class AttributeRules {
 public:
  /// The rules of one data file (looked up by its file name). Throws Error that names the file on malformed JSON and
  /// where it holds nothing about `data_name`.
  static AttributeRules load(const std::filesystem::path& path, const std::string& data_name);
  AttributeRules(std::vector<std::vector<Spellings>> categories,
                 std::map<std::string, std::vector<Spellings>> required);

  /// The facts that a right answer to this sample names; null if the sample has no rule.
  const std::vector<Spellings>* required(const std::string& sample_id) const;
  /// Right: every required fact is named, and no other member of a category of which a member is required. Words are
  /// found as parts of the answer, letters in any case; the longest spelling counts (so `top left` does not name
  /// `left`), and a Latin word must not begin inside another one.
  bool is_right(const std::string& answer, const std::vector<Spellings>& required) const;

 private:
  std::vector<std::vector<Spellings>> categories_;
  std::map<std::string, std::vector<Spellings>> required_;
};

/// Equal but for white space at both ends.
bool is_exact(const std::string& answer, const std::string& truth);

/// Harmonic mean of precision and recall over words: runs of letters and digits in any case, each Chinese or Japanese
/// character by itself; punctuation is left out. 1 if both are without words, 0 if one is.
double token_f1(const std::string& answer, const std::string& truth);

}  // namespace minimind
