#pragma once

#include <functional>
#include <string_view>

namespace minimind {

/// Sets the receiver of all messages and progress lines. Without a sink the library is silent. The sink gets whole
/// lines with their line breaks, one call at a time, from any thread. It must not log itself.
void set_log_sink(std::function<void(std::string_view)> sink);

/// Sets the sink to stderr. If stderr is a terminal, progress lines are rewritten in place.
void log_to_stderr();

/// Logs one line. Safe to call from several threads.
void log_info(std::string_view message);

/// Logs one line with `warning: ` in front.
void log_warning(std::string_view message);

/// Whether the sink is a terminal, which takes parts of lines too.
bool log_is_terminal();

/// Gives the text to the sink as it is.
void log_text(std::string_view text);

}  // namespace minimind
