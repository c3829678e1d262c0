#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace minimind {

/// A wrong input, file or setting, which the user can correct. The message says the place, what was expected, what was
/// found, and the cure. Mistakes in our code are std::logic_error. run_main prints `error: …` and returns 1.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Wrong flags or a wrong combination of flags. run_main returns 2.
class UsageError : public Error {
 public:
  using Error::Error;
};

/// The text of all parts, one after the other.
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
