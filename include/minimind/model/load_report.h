#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace minimind {

/// What a load of weights found, counted by module (`layers`, `vision_proj`, …). Every load logs it.
struct LoadReport {
  struct Counts {
    int64_t matched = 0, missing = 0, unexpected = 0, wrong_shape = 0, skipped = 0;
  };
  std::map<std::string, Counts> modules;
  std::vector<std::string> missing_allowed;  ///< keys that the file lacks and may lack
  Counts total() const;
  /// One line a module, without a newline at the end.
  std::string summary() const;
  /// Whether the file held no vision_proj.*: a language-only checkpoint.
  bool lacks_projection() const;
};

}  // namespace minimind
