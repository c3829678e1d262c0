#pragma once

#include <algorithm>
#include <cstdint>
#include <thread>

namespace minimind {

/// The longest context that can be asked for: what a program needs of memory grows with it before a token is there.
inline constexpr int64_t kLongestContext = int64_t{1} << 20;

/// The most threads that can be asked for. Far more than there are cores, and they only wait for one another.
inline int64_t most_threads() {
  return std::max<int64_t>(256, std::thread::hardware_concurrency());
}

}  // namespace minimind
