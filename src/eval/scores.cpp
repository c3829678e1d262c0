#include "eval/scores.h"

#include <algorithm>
#include <cctype>
#include <iterator>
#include <string_view>

#include "base/json.h"
#include "base/text.h"
#include "base/utf8.h"
#include "minimind/base/error.h"
#include "minimind/base/file.h"

namespace minimind {

namespace {

bool is_ascii_letter(char letter) {
  return std::isalpha(static_cast<unsigned char>(letter)) != 0;
}

/// Whether `spelling` stands at the byte offset `at` and does not begin inside a Latin word.
bool stands_at(std::string_view text, size_t at, const std::string& spelling) {
  if (spelling.empty() || text.substr(at, spelling.size()) != spelling) {
    return false;
  }
  return !is_ascii_letter(spelling.front()) || at == 0 || !is_ascii_letter(text[at - 1]);
}

/// The members that the text names. At each place the longest spelling counts and its letters are used up.
std::vector<Spellings> named_members(std::string_view text, const std::vector<Spellings>& members) {
  std::vector<Spellings> named;
  for (size_t at = 0; at < text.size();) {
    size_t longest = 0, member = 0;
    for (size_t i = 0; i < members.size(); ++i) {
      for (const std::string& spelling : members[i]) {
        if (spelling.size() > longest && stands_at(text, at, spelling)) {
          longest = spelling.size();
          member = i;
        }
      }
    }
    if (longest > 0) {
      named.push_back(members[member]);
    }
    at += std::max<size_t>(longest, 1);
  }
  return named;
}

/// Whether one of the facts shares a spelling with `fact`.
bool is_among(const std::vector<Spellings>& facts, const Spellings& fact) {
  return std::ranges::any_of(
      facts, [&](const Spellings& other) { return std::ranges::find_first_of(other, fact) != other.end(); });
}

std::vector<Spellings> lower_all(std::vector<Spellings> facts) {
  for (Spellings& fact : facts) {
    for (std::string& spelling : fact) {
      spelling = lower_case(spelling);
    }
  }
  return facts;
}

bool is_white(char32_t code) {
  return code <= 0x20 || code == 0xA0 || code == 0x3000 || code == 0x85;
}

bool is_punctuation(char32_t code) {
  if (code < 0x80) {
    return std::isalnum(static_cast<int>(code)) == 0;
  }
  return code < 0xC0 || (code >= 0x2000 && code <= 0x206F) || (code >= 0x3000 && code <= 0x303F) ||
         (code >= 0xFE30 && code <= 0xFE4F) || (code >= 0xFF00 && code <= 0xFF0F) ||
         (code >= 0xFF1A && code <= 0xFF20) || (code >= 0xFF3B && code <= 0xFF40) || (code >= 0xFF5B && code <= 0xFF65);
}

/// Whether the script has no spaces between words, so that each character counts as a word.
bool is_whole_word(char32_t code) {
  return (code >= 0x3040 && code <= 0x30FF) || (code >= 0x3400 && code <= 0x9FFF) ||
         (code >= 0xF900 && code <= 0xFAFF) || (code >= 0x20000 && code <= 0x3FFFF);
}

std::vector<std::string> words_of_text(const std::string& text) {
  std::vector<std::string> words;
  std::string word;
  const auto end_word = [&] {
    if (!word.empty()) {
      words.push_back(std::move(word));
      word.clear();
    }
  };
  for (const char32_t code : utf8_to_codepoints(lower_case(text))) {
    if (is_white(code) || is_punctuation(code)) {
      end_word();
    } else if (is_whole_word(code)) {
      end_word();
      append_utf8(word, code);
      end_word();
    } else {
      append_utf8(word, code);
    }
  }
  end_word();
  return words;
}

}  // namespace

AttributeRules::AttributeRules(std::vector<std::vector<Spellings>> categories,
                               std::map<std::string, std::vector<Spellings>> required)
    : categories_(std::move(categories)), required_(std::move(required)) {
  for (std::vector<Spellings>& members : categories_) {
    members = lower_all(std::move(members));
  }
  for (auto& [id, facts] : required_) {
    facts = lower_all(std::move(facts));
  }
}

AttributeRules AttributeRules::load(const std::filesystem::path& path, const std::string& data_name) {
  const Json rules = parse_json(read_file(path), path.string());
  try {
    require(rules.contains(data_name), path.string(), ": expected the attributes of ", data_name,
            ", found no such key; add the key, or score without attributes: --attributes none");
    std::vector<std::vector<Spellings>> categories;
    for (const auto& [name, members] : rules.at("categories").items()) {
      categories.push_back(members.get<std::vector<Spellings>>());
    }
    std::map<std::string, std::vector<Spellings>> required;
    for (const auto& [id, rule] : rules.at(data_name).items()) {
      required[id] = rule.at("required").get<std::vector<Spellings>>();
    }
    return {std::move(categories), std::move(required)};
  } catch (const Json::exception&) {
    fail(
        path.string(),
        R"(: expected {"FILE.json": {ID: {"required": [[word, …], …]}}, "categories": {NAME: [[word, …], …]}}, found another structure)");
  }
}

const std::vector<Spellings>* AttributeRules::required(const std::string& sample_id) const {
  const auto found = required_.find(sample_id);
  return found == required_.end() ? nullptr : &found->second;
}

bool AttributeRules::is_right(const std::string& answer, const std::vector<Spellings>& required) const {
  const std::string text = lower_case(answer);
  const std::vector<Spellings> facts = lower_all(required);
  std::vector<Spellings> known, named;  // members of the facts' categories, and those that the text names
  for (const std::vector<Spellings>& members : categories_) {
    if (std::ranges::none_of(members, [&](const Spellings& member) { return is_among(facts, member); })) {
      continue;
    }
    known.insert(known.end(), members.begin(), members.end());
    for (const Spellings& member : named_members(text, members)) {
      if (!is_among(facts, member)) {
        return false;
      }
      named.push_back(member);
    }
  }
  return std::ranges::all_of(facts, [&](const Spellings& fact) {
    return is_among(known, fact) ? is_among(named, fact) : !named_members(text, {fact}).empty();
  });
}

bool is_exact(const std::string& answer, const std::string& truth) {
  return strip(answer) == strip(truth);
}

double token_f1(const std::string& answer, const std::string& truth) {
  std::vector<std::string> ours = words_of_text(answer), theirs = words_of_text(truth), common;
  if (ours.empty() || theirs.empty()) {
    return ours.empty() && theirs.empty() ? 1.0 : 0.0;
  }
  std::ranges::sort(ours);
  std::ranges::sort(theirs);
  std::ranges::set_intersection(ours, theirs, std::back_inserter(common));
  return 2.0 * static_cast<double>(common.size()) / static_cast<double>(ours.size() + theirs.size());
}

}  // namespace minimind
