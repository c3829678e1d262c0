#include "io/model_part.h"

#include <array>

namespace minimind {

const PickleNode& model_part(const PickleNode& result) {
  constexpr std::array kKeys = {"model", "state_dict", "model_state_dict", "module", "net", "network", "weights"};
  constexpr int kDeepest = 3;
  const PickleNode* part = &result;
  const auto find_part = [&](std::string_view wanted) -> const PickleNode* {
    for (size_t i = 0; i + 1 < part->items.size(); i += 2) {
      const PickleNode &key = *part->items[i], &value = *part->items[i + 1];
      if (key.kind == PickleNode::Kind::kText && key.text == wanted && value.kind == PickleNode::Kind::kDict &&
          !value.items.empty()) {
        return &value;
      }
    }
    return nullptr;
  };
  for (int depth = 0; depth < kDeepest; ++depth) {
    const PickleNode* found = nullptr;
    for (size_t i = 0; i < kKeys.size() && found == nullptr; ++i) {
      found = find_part(kKeys[i]);
    }
    if (found == nullptr) {
      break;
    }
    part = found;
  }
  return *part;
}

}  // namespace minimind
