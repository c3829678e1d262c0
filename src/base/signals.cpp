#include "base/signals.h"

#include <stdexcept>
#include <string>

namespace minimind {

namespace {

volatile std::sig_atomic_t last_signal = 0;
volatile std::sig_atomic_t signal_count = 0;
std::function<void()> signal_callback;  // changes only while no signal is caught

void catch_signal(int signal) {
  last_signal = signal;
  signal_count = signal_count + 1;
  if (signal_callback) {
    signal_callback();
  }
}

void catch_first_signal(int signal) {
  catch_signal(signal);
  std::signal(signal, SIG_DFL);
}

}  // namespace

SignalCatcher::SignalCatcher(std::initializer_list<int> signals, SecondSignal second, std::function<void()> on_signal) {
  clear();
  signal_callback = std::move(on_signal);
  struct sigaction action {};
  sigemptyset(&action.sa_mask);
  action.sa_handler = second == SecondSignal::kEndsProgram ? catch_first_signal : catch_signal;
  action.sa_flags = second == SecondSignal::kEndsProgram ? SA_RESTART : 0;
  for (const int signal : signals) {
    struct sigaction previous {};
    if (sigaction(signal, &action, &previous) != 0) {
      throw std::runtime_error("signal " + std::to_string(signal) + " cannot be caught");
    }
    previous_.emplace_back(signal, previous);
  }
}

SignalCatcher::~SignalCatcher() {
  for (const auto& [signal, previous] : previous_) {
    sigaction(signal, &previous, nullptr);
  }
  signal_callback = nullptr;
}

int SignalCatcher::last() {
  return last_signal;
}

int SignalCatcher::count() {
  return signal_count;
}

void SignalCatcher::clear() {
  last_signal = 0;
  signal_count = 0;
}

}  // namespace minimind
