#include "web/stop_matcher.h"

#include <algorithm>
#include <utility>

namespace minimind {

std::string StopMatcher::push(std::string_view piece) {
  if (stopped_) {
    return "";
  }
  held_ += piece;
  size_t cut = std::string::npos;
  for (const std::string& stop : stops_) {
    cut = std::min(cut, held_.find(stop));
  }
  if (cut != std::string::npos) {
    stopped_ = true;
    std::string shown = held_.substr(0, cut);
    held_.clear();
    return shown;
  }
  size_t keep = 0;
  for (const std::string& stop : stops_) {
    for (size_t length = std::min(stop.size() - 1, held_.size()); length > keep; --length) {
      if (held_.ends_with(std::string_view(stop).substr(0, length))) {
        keep = length;
      }
    }
  }
  std::string shown = held_.substr(0, held_.size() - keep);
  held_.erase(0, held_.size() - keep);
  return shown;
}

std::string StopMatcher::finish() {
  return std::exchange(held_, {});
}

}  // namespace minimind
