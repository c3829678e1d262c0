#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace minimind {

/// Ends a streamed text before the first of several strings. Holds back a suffix that may begin one of the strings.
class StopMatcher {
 public:
  explicit StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)) {}

  /// Returns the text that may be shown now; nothing once stopped() is true.
  std::string push(std::string_view piece);
  /// Returns the text held back, at the end of the stream.
  std::string finish() { return std::exchange(held_, {}); }
  /// Whether one of the strings has occurred.
  bool stopped() const { return stopped_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace minimind
