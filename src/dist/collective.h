#pragma once

#include <exception>
#include <string>

namespace minimind::detail {

/// NCCL's monitor reads a key of the store that asks it for a dump. Under a store that outlives the attempt the key may
/// be an earlier attempt's, and the monitor ends this process. Nothing here reads its recorder. Sets environment
/// variables unless they are set; before the first NCCL group.
void switch_nccl_recorder_off();

/// Whether this rank itself has failed: exhausted memory, a failed kernel, a bug. The failures of c10d and Gloo are of
/// a connection.
bool is_own_failure(const std::exception& error);

/// What a failed collective tells the user about `error`: its first line and what NCCL names as the cause.
std::string connection_failure_text(const std::exception& error);

}  // namespace minimind::detail
