#pragma once

#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "minimind/base/image_span.h"

namespace minimind::text_detail {

/// Finds the tokens that are matched in the text first: the leftmost match, of equal places the longest.
class SpecialSplitter {
 public:
  /// Tokens with an empty text are ignored.
  explicit SpecialSplitter(std::vector<std::pair<std::string, TokenId>> specials = {});

  /// Calls on_text(std::string_view) for each non-empty piece between specials and on_special(TokenId) for each
  /// special, in the order of the text.
  template <class OnText, class OnSpecial>
  void split(std::string_view text, OnText&& on_text, OnSpecial&& on_special) const {
    size_t begin = 0;
    for (Match match; (match = find(text, begin)).special != nullptr;) {
      if (match.at > begin) {
        on_text(text.substr(begin, match.at - begin));
      }
      on_special(match.special->second);
      begin = match.at + match.special->first.size();
    }
    if (begin < text.size()) {
      on_text(text.substr(begin));
    }
  }

 private:
  using Special = std::pair<std::string, TokenId>;
  struct Match {
    size_t at = 0;
    const Special* special = nullptr;
  };
  Match find(std::string_view text, size_t from) const;

  std::vector<Special> specials_;  // longest first
  std::array<bool, 256> begins_{};
};

}  // namespace minimind::text_detail
