#include "dist/launcher_times.h"

#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <string>

#include "minimind/base/error.h"

namespace minimind::detail {
namespace {

struct ProcessFacts {
  int64_t parent = 0;
  double ticks = 0;  ///< from the system's start to its own
};

std::optional<ProcessFacts> facts_of(int64_t process) {
  std::ifstream file(concat("/proc/", process, "/stat"));
  std::string text;
  std::getline(file, text);
  const size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) {
    return std::nullopt;
  }
  // After the name: the state, the parent, and as the 20th the ticks.
  std::istringstream fields(text.substr(name_end + 1));
  ProcessFacts facts;
  std::string skipped;
  fields >> skipped >> facts.parent;
  for (int field = 2; field < 19; ++field) {
    fields >> skipped;
  }
  return fields >> facts.ticks ? std::optional(facts) : std::nullopt;
}

bool is_started_by_torchrun(int64_t process) {
  std::ifstream file(concat("/proc/", process, "/environ"), std::ios::binary);
  const std::string environment{std::istreambuf_iterator<char>(file), {}};
  return (std::string(1, '\0') + environment).find(std::string("\0TORCHELASTIC_RUN_ID=", 21)) != std::string::npos;
}

}  // namespace

double seconds_since_1970() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

AttemptTimes launcher_times() {
  const double now = seconds_since_1970();
  std::optional<ProcessFacts> attempt, launcher = facts_of(::getpid());
  for (int64_t process = ::getpid(); launcher && is_started_by_torchrun(process);) {
    process = launcher->parent;
    attempt = launcher;
    launcher = facts_of(process);
  }
  // The clock that the ticks are counted by; /proc/uptime may be a container's.
  timespec up{};
  if (!attempt || !launcher || ::clock_gettime(CLOCK_BOOTTIME, &up) != 0) {
    return {now, now};
  }
  const auto began = [&](const ProcessFacts& process) {
    const double age = static_cast<double>(up.tv_sec) + 1e-9 * static_cast<double>(up.tv_nsec) -
                       process.ticks / static_cast<double>(::sysconf(_SC_CLK_TCK));
    return now - std::max(0.0, age);
  };
  return {began(*launcher), began(*attempt)};
}

}  // namespace minimind::detail
