#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace minimind {

/// Bad input, file or setting: something that the user can mend. The message says where, what was expected, what was
/// found and the cure. Our own mistakes are std::logic_error. Every main catches once: `error: …`, exit 1.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Wrong flags or a wrong combination of flags: exit 2.
class UsageError : public Error {
 public:
  using Error::Error;
};

/// The parts, streamed one after the other.
template <class... Parts>
std::string concat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

/// Throws Error with the concatenated parts.
template <class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  throw Error(concat(parts...));
}

/// Throws Error with the concatenated parts unless `condition` holds.
template <class... Parts>
void require(bool condition, const Parts&... parts) {
  if (!condition) {
    fail(parts...);
  }
}

}  // namespace minimind
