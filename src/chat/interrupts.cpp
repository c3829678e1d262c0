#include "chat/interrupts.h"

#include <stdexcept>

namespace minimind::detail {

namespace {

volatile std::sig_atomic_t interrupt_mark = 0;

void leave_mark(int /*signal*/) {
  interrupt_mark = 1;
}

}  // namespace

InterruptMarks::InterruptMarks() {
  interrupt_mark = 0;
  struct sigaction action {};
  action.sa_handler = leave_mark;
  // No SA_RESTART: a read that waits for a line comes back.
  if (sigaction(SIGINT, &action, &previous_) != 0) {
    throw std::runtime_error("SIGINT cannot be caught");
  }
}

InterruptMarks::~InterruptMarks() {
  sigaction(SIGINT, &previous_, nullptr);
}

bool interrupt_pending() {
  return interrupt_mark != 0;
}

bool take_interrupt() {
  const bool pending = interrupt_mark != 0;
  interrupt_mark = 0;
  return pending;
}

}  // namespace minimind::detail
