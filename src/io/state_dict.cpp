#include "minimind/io/state_dict.h"

#include <algorithm>

namespace minimind {

const at::Tensor* StateDict::find(const std::string& name) const {
  const auto found = std::ranges::find(entries_, name, &Entry::first);
  return found == entries_.end() ? nullptr : &found->second;
}

}  // namespace minimind
