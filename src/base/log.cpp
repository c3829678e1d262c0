#include "minimind/base/log.h"

#include <unistd.h>

#include <cstdio>
#include <mutex>
#include <string>
#include <utility>

#include "base/log_origin.h"

namespace minimind {

namespace {

struct LogSink {
  std::mutex mutex;
  std::function<void(std::string_view)> write;
  bool is_terminal = false;
  std::string origin;
};

// Never destroyed: threads may log while the program ends.
LogSink& log_sink() {
  static auto* const sink = new LogSink;
  return *sink;
}

void set_sink(std::function<void(std::string_view)> write, bool is_terminal) {
  const std::scoped_lock lock(log_sink().mutex);
  log_sink().write = std::move(write);
  log_sink().is_terminal = is_terminal;
}

std::string log_origin() {
  const std::scoped_lock lock(log_sink().mutex);
  return log_sink().origin;
}

}  // namespace

void set_log_origin(std::string origin) {
  const std::scoped_lock lock(log_sink().mutex);
  log_sink().origin = std::move(origin);
}

void set_log_sink(std::function<void(std::string_view)> sink) {
  set_sink(std::move(sink), false);
}

void log_to_stderr() {
  // One write per text: lines of several processes do not mix.
  set_sink([](std::string_view text) { std::fwrite(text.data(), 1, text.size(), stderr); },
           ::isatty(STDERR_FILENO) == 1);
}

void log_info(std::string_view message) {
  if (log_origin().empty()) {
    log_text(std::string(message) + '\n');
  }
}

void log_warning(std::string_view message) {
  const std::string origin = log_origin();
  log_text("warning: " + origin + (origin.empty() ? "" : ": ") + std::string(message) + '\n');
}

bool log_is_terminal() {
  const std::scoped_lock lock(log_sink().mutex);
  return log_sink().is_terminal;
}

void log_text(std::string_view text) {
  const std::scoped_lock lock(log_sink().mutex);
  if (log_sink().write) {
    log_sink().write(text);
  }
}

}  // namespace minimind
