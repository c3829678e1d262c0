#include "base/progress.h"

#include <cmath>
#include <cstdio>
#include <limits>

#include "minimind/base/log.h"

namespace minimind {

namespace {

constexpr double kTerminalSeconds = 0.2;
constexpr double kLineSeconds = 10;

}  // namespace

void ProgressLine::show(const std::string& text, bool is_due) {
  if (!log_is_terminal()) {
    if (is_due) {
      log_info(text);
    }
    return;
  }
  if (is_due || !since_shown_ || since_shown_->seconds() > kTerminalSeconds) {
    since_shown_.emplace();
    is_open_ = true;
    log_text("\r" + text + "\x1b[K");  // carriage return; erase to the end of the line
  }
}

void ProgressLine::finish() {
  if (is_open_) {
    log_text("\n");
    is_open_ = false;
  }
}

void Progress::update(int64_t done) {
  done_ = done;
  const double now = watch_.seconds();
  if (now >= next_) {
    line_.show(text(), /*is_due=*/true);
    is_shown_ = true;
    next_ = now + (log_is_terminal() ? kTerminalSeconds : kLineSeconds);
  }
}

void Progress::finish() {
  if (is_shown_) {
    line_.show(text(), /*is_due=*/log_is_terminal());
    line_.finish();
  }
  is_shown_ = false;
  next_ = std::numeric_limits<double>::infinity();
}

std::string Progress::text() const {
  const double rate = static_cast<double>(done_) / watch_.seconds();
  char numbers[160];
  if (total_ > 0) {
    const double left = rate > 0 ? static_cast<double>(total_ - done_) / rate : 0.0;
    std::snprintf(numbers, sizeof(numbers), "%lld of %lld %s, %.1f/s, %s left", static_cast<long long>(done_),
                  static_cast<long long>(total_), unit_.c_str(), rate, format_duration(left).c_str());
  } else {
    std::snprintf(numbers, sizeof(numbers), "%lld %s, %.1f/s", static_cast<long long>(done_), unit_.c_str(), rate);
  }
  return what_ + ": " + numbers;
}

std::string format_duration(double seconds) {
  char text[48];
  if (seconds < 60) {
    std::snprintf(text, sizeof(text), "%.1f s", seconds);
    return text;
  }
  const long long whole = std::llround(seconds);
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
