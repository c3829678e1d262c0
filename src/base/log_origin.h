#pragma once

#include <string>

namespace minimind {

/// Puts `origin` in front of each warning and drops log_info() from now on: another process of the same run logs that
/// too. Empty: all is logged as it is.
void set_log_origin(std::string origin);

}  // namespace minimind
