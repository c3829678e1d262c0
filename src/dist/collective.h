#pragma once

#include <exception>
#include <string>

namespace minimind::detail {

/// Whether this rank itself has failed: exhausted memory, a failed kernel, a bug. The failures of c10d and Gloo are of
/// a connection.
bool is_own_failure(const std::exception& error);

/// What a failed collective tells the user about `error`: its first line and what NCCL names as the cause.
std::string connection_failure_text(const std::exception& error);

}  // namespace minimind::detail
