#include "minimind/base/log.h"

#include <cstdio>
#include <string>

namespace minimind {

namespace {

// One write per line: lines of several threads do not mix.
void write_line(std::string line) {
  line += '\n';
  std::fwrite(line.data(), 1, line.size(), stderr);
}

}  // namespace

void log_info(std::string_view message) {
  write_line(std::string(message));
}

void log_warning(std::string_view message) {
  write_line("warning: " + std::string(message));
}

}  // namespace minimind
