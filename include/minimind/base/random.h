#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace minimind {

/// Seeded random numbers, equal on every platform and compiler (xoshiro256**, seeded by splitmix64). Functions take a
/// Random&; there is no global generator.
class Random {
 public:
  explicit Random(uint64_t seed);
  /// A separate generator for (seed, stream), for example for the shuffling of one epoch.
  Random(uint64_t seed, uint64_t stream);

  uint64_t next();
  /// Uniform in [0, bound); bound > 0.
  uint64_t below(uint64_t bound);
  /// Uniform in [low, high], both included.
  int64_t between(int64_t low, int64_t high);
  /// Uniform in [0, 1).
  double uniform();
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  /// Standard normal.
  double normal();

  template <class T>
  void shuffle(std::vector<T>& items) {
    for (std::size_t i = items.size(); i > 1; --i) {
      std::swap(items[i - 1], items[below(i)]);
    }
  }
  template <class T>
  const T& choice(const std::vector<T>& items) {
    return items[below(items.size())];
  }

 private:
  std::array<uint64_t, 4> state_{};
};

}  // namespace minimind
