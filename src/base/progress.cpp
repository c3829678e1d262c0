#include "base/progress.h"

#include <unistd.h>

#include <cstdio>

namespace minimind {

namespace {

constexpr auto kQuiet = std::chrono::seconds(2);
constexpr auto kTerminalInterval = std::chrono::milliseconds(200);
constexpr auto kPlainInterval = std::chrono::seconds(10);

}  // namespace

Progress::Progress(std::string what, std::string unit, int64_t total)
    : what_(std::move(what)),
      unit_(std::move(unit)),
      total_(total),
      terminal_(::isatty(STDERR_FILENO) == 1),
      start_(Clock::now()),
      next_(start_ + kQuiet) {}

Progress::~Progress() {
  finish();
}

void Progress::update(int64_t done) {
  done_ = done;
  const auto now = Clock::now();
  if (now >= next_) {
    show(now);
    next_ = now + (terminal_ ? Clock::duration(kTerminalInterval) : Clock::duration(kPlainInterval));
  }
}

void Progress::show(Clock::time_point now) {
  const double seconds = std::chrono::duration<double>(now - start_).count();
  const double rate = static_cast<double>(done_) / seconds;
  char numbers[160];
  if (total_ > 0) {
    const double left = rate > 0 ? static_cast<double>(total_ - done_) / rate : 0.0;
    std::snprintf(numbers, sizeof(numbers), "%lld of %lld %s, %.1f/s, %s left", static_cast<long long>(done_),
                  static_cast<long long>(total_), unit_.c_str(), rate, format_duration(left).c_str());
  } else {
    std::snprintf(numbers, sizeof(numbers), "%lld %s, %.1f/s", static_cast<long long>(done_), unit_.c_str(), rate);
  }
  std::fprintf(stderr, terminal_ ? "\r%s: %s\033[K" : "%s: %s\n", what_.c_str(), numbers);
  std::fflush(stderr);
  shown_ = true;
}

void Progress::finish() {
  if (shown_ && terminal_) {
    show(Clock::now());
    std::fputc('\n', stderr);
  }
  shown_ = false;
  next_ = Clock::time_point::max();
}

std::string format_duration(double seconds) {
  char text[48];
  if (seconds < 60) {
    std::snprintf(text, sizeof(text), "%.1f s", seconds);
    return text;
  }
  const auto whole = static_cast<long long>(seconds + 0.5);
  if (whole < 3600) {
    std::snprintf(text, sizeof(text), "%lld:%02lld", whole / 60, whole % 60);
  } else {
    std::snprintf(text, sizeof(text), "%lld:%02lld:%02lld", whole / 3600, whole / 60 % 60, whole % 60);
  }
  return text;
}

std::string format_bytes(double bytes) {
  const char* units[] = {"B", "kB", "MB", "GB", "TB"};
  int unit = 0;
  while (bytes >= 1000 && unit < 4) {
    bytes /= 1000;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof(text), unit == 0 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
  return text;
}

}  // namespace minimind
