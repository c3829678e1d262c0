#pragma once

#include "dist/process_group.h"

namespace minimind::detail {

/// By the system's clock.
double seconds_since_1970();

/// When torchrun began and when it started the attempt that this process belongs to: a launcher outlives the attempts
/// that it starts, and scripts may stand between them and this program. Both are now where torchrun did not start it,
/// or the system does not tell.
AttemptTimes launcher_times();

}  // namespace minimind::detail
