#pragma once

#include <csignal>

namespace minimind::detail {

/// While it lives, Ctrl-C (SIGINT) only leaves a mark. One at a time.
class InterruptMarks {
 public:
  InterruptMarks();
  ~InterruptMarks();
  InterruptMarks(const InterruptMarks&) = delete;
  InterruptMarks& operator=(const InterruptMarks&) = delete;

 private:
  struct sigaction previous_ {};
};

/// Whether a mark is there.
bool interrupt_pending();
/// The same, and wipes it.
bool take_interrupt();

}  // namespace minimind::detail
