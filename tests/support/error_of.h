#pragma once

#include <string>

#include "minimind/base/error.h"

namespace minimind::testing {

/// The message of the minimind::Error that `action` throws; "" if it throws none.
template <class Action>
std::string error_of(const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace minimind::testing
