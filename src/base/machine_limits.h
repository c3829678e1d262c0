#pragma once

#include <algorithm>
#include <cstdint>
#include <thread>

namespace minimind {

/// The largest context length. Programs allocate memory for it before the first token.
inline constexpr int64_t kLongestContext = int64_t{1} << 20;

/// The largest number of threads: 256, or the number of cores if that is larger.
inline int64_t most_threads() {
  return std::max<int64_t>(256, std::thread::hardware_concurrency());
}

}  // namespace minimind
