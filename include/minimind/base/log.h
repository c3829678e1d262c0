#pragma once

#include <string_view>

namespace minimind {

/// One line on stderr, so that stdout stays free for results. Safe to call from several threads.
void log_info(std::string_view message);

/// The same with `warning: ` in front.
void log_warning(std::string_view message);

}  // namespace minimind
