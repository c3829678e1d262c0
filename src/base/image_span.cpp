#include "minimind/base/image_span.h"

#include <algorithm>

namespace minimind {

std::vector<int64_t> find_image_spans(std::span<const TokenId> ids, std::span<const TokenId> pattern) {
  std::vector<int64_t> starts;
  for (auto from = ids.begin(); !pattern.empty(); from += static_cast<std::ptrdiff_t>(pattern.size())) {
    from = std::search(from, ids.end(), pattern.begin(), pattern.end());
    if (from == ids.end()) {
      break;
    }
    starts.push_back(from - ids.begin());
  }
  return starts;
}

}  // namespace minimind
