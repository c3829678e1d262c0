#include "web/stop_matcher.h"

#include <algorithm>

namespace minimind {

std::string StopMatcher::push(std::string_view piece) {
  if (stopped_) {
    return "";
  }
  held_ += piece;
  size_t cut = std::string::npos;
  size_t keep = 0;
  for (const std::string& stop : stops_) {
    cut = std::min(cut, held_.find(stop));
    for (size_t length = std::min(stop.size() - 1, held_.size()); length > keep; --length) {
      if (held_.ends_with(std::string_view(stop).substr(0, length))) {
        keep = length;
      }
    }
  }
  stopped_ = cut != std::string::npos;
  std::string shown = held_.substr(0, stopped_ ? cut : held_.size() - keep);
  held_.erase(0, stopped_ ? held_.size() : shown.size());
  return shown;
}

}  // namespace minimind
