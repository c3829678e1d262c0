#pragma once

#include <csignal>
#include <functional>
#include <initializer_list>
#include <utility>
#include <vector>

namespace minimind {

/// Catches signals such as SIGINT and SIGTERM while it lives; the destructor restores the former actions. Its counts
/// are global, because a signal handler reaches only globals: one object may exist at a time.
class SignalCatcher {
 public:
  enum class SecondSignal {
    kEndsProgram,  ///< the second signal of a kind has its default action; interrupted system calls go on
    kIsCounted,    ///< all signals are counted; interrupted system calls return with EINTR
  };

  /// `on_signal` runs inside the signal handler: it may make only async-signal-safe calls. Throws std::runtime_error
  /// if a signal cannot be caught.
  SignalCatcher(std::initializer_list<int> signals, SecondSignal second, std::function<void()> on_signal = {});
  ~SignalCatcher();
  SignalCatcher(const SignalCatcher&) = delete;
  SignalCatcher& operator=(const SignalCatcher&) = delete;

  /// The number of the last signal; 0 if there was no signal.
  static int last();
  /// How many signals came since the start or the last clear().
  static int count();
  /// Forgets the signals so far.
  static void clear();

 private:
  std::vector<std::pair<int, struct sigaction>> previous_;
};

}  // namespace minimind
