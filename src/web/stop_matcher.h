#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace minimind {

/// Cuts a text that comes in pieces before the first of some strings; holds back what may be the beginning of one.
class StopMatcher {
 public:
  explicit StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)) {}

  /// The text that may be shown now. Nothing comes any more once stopped() is true.
  std::string push(std::string_view piece);
  /// What was held back, at the end of the text.
  std::string finish();
  bool stopped() const { return stopped_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace minimind
