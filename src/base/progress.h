#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace minimind {

/// A progress line for anything that may last over two seconds: done of total, rate, time left. On a terminal it is one
/// line rewritten in place; piped, it prints a plain line every ten seconds. Nothing appears before two seconds have
/// passed. Writes to stderr.
class Progress {
 public:
  /// total 0: unknown.
  Progress(std::string what, std::string unit, int64_t total);
  ~Progress();
  /// Cheap: may be called for every item. From one thread.
  void update(int64_t done);
  void finish();

 private:
  using Clock = std::chrono::steady_clock;
  void show(Clock::time_point now);
  std::string what_;
  std::string unit_;
  int64_t total_;
  int64_t done_ = 0;
  bool terminal_;
  bool shown_ = false;
  Clock::time_point start_;
  Clock::time_point next_;
};

/// `1:02:03`, `2:03` or `4.2 s`.
std::string format_duration(double seconds);
/// `1.2 MB`, `980 B` (powers of 1000).
std::string format_bytes(double bytes);

}  // namespace minimind
