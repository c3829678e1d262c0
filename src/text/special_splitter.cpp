#include "text/special_splitter.h"

#include <algorithm>
#include <cstdint>

namespace minimind::text_detail {

SpecialSplitter::SpecialSplitter(std::vector<Special> specials) : specials_(std::move(specials)) {
  std::erase_if(specials_, [](const Special& special) { return special.first.empty(); });
  std::stable_sort(specials_.begin(), specials_.end(),
                   [](const Special& a, const Special& b) { return a.first.size() > b.first.size(); });
  for (const Special& special : specials_) {
    begins_[static_cast<uint8_t>(special.first[0])] = true;
  }
}

SpecialSplitter::Match SpecialSplitter::find(std::string_view text, size_t from) const {
  for (size_t at = from; at < text.size(); ++at) {
    if (!begins_[static_cast<uint8_t>(text[at])]) {
      continue;
    }
    for (const Special& special : specials_) {
      if (text.substr(at).starts_with(special.first)) {
        return {at, &special};
      }
    }
  }
  return {};
}

}  // namespace minimind::text_detail
