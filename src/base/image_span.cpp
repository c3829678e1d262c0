#include "minimind/base/image_span.h"

#include <algorithm>

namespace minimind {

namespace {

template <class Id>
std::vector<int64_t> find_runs(std::span<const Id> ids, std::span<const TokenId> pattern) {
  std::vector<int64_t> starts;
  if (pattern.empty()) {
    return starts;
  }
  const auto same = [](Id id, TokenId expected) { return id == static_cast<Id>(expected); };
  auto from = ids.begin();
  while (true) {
    from = std::search(from, ids.end(), pattern.begin(), pattern.end(), same);
    if (from == ids.end()) {
      return starts;
    }
    starts.push_back(from - ids.begin());
    from += static_cast<std::ptrdiff_t>(pattern.size());
  }
}

}  // namespace

std::vector<int64_t> find_image_spans(std::span<const TokenId> ids, std::span<const TokenId> pattern) {
  return find_runs(ids, pattern);
}

std::vector<int64_t> find_image_spans(std::span<const int64_t> ids, std::span<const TokenId> pattern) {
  return find_runs(ids, pattern);
}

}  // namespace minimind
