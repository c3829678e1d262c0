#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/stopwatch.h"

namespace minimind {

/// One line that shows how far a run is. A terminal shows it rewritten in place, at most five times a second. Any other
/// log sink gets only the lines that are due, each as a line of its own. Use it from one thread.
class ProgressLine {
 public:
  ProgressLine() = default;
  ~ProgressLine() { finish(); }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  /// Shows the text; `is_due`: the text belongs in the log, so it is shown in any case.
  void show(const std::string& text, bool is_due);
  /// Ends a line that is being rewritten, so that the next output starts on a new line.
  void finish();

 private:
  bool is_open_ = false;
  std::optional<Stopwatch> since_shown_;
};

/// Progress of work that may last over two seconds: how much is done, the rate, the time left. Shows nothing in the
/// first two seconds. Then a terminal shows a line rewritten in place, any other log sink a line every ten seconds.
class Progress {
 public:
  /// `total` 0: unknown.
  Progress(std::string what, std::string unit, int64_t total)
      : what_(std::move(what)), unit_(std::move(unit)), total_(total) {}
  ~Progress() { finish(); }
  /// Costs little: call it for every item, from one thread.
  void update(int64_t done);
  /// Shows the last state if a line is open, and ends the line.
  void finish();

 private:
  std::string text() const;
  std::string what_;
  std::string unit_;
  int64_t total_;
  int64_t done_ = 0;
  double next_ = 2;  // seconds after the start
  bool is_shown_ = false;
  Stopwatch watch_;
  ProgressLine line_;
};

/// `1:02:03`, `2:03` or `4.2 s`.
std::string format_duration(double seconds);
/// `1.2 MB`, `980 B` (powers of 1000).
std::string format_bytes(double bytes);

}  // namespace minimind
