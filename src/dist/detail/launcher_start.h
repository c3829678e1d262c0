#pragma once

namespace minimind::detail {

/// By the system's clock.
double seconds_since_1970();

/// When the program that started this process began, in seconds since 1970: a launcher outlives the attempts that it
/// starts. Scripts that torchrun has started stand for no launcher. Now, where the system does not tell.
double launcher_start();

}  // namespace minimind::detail
