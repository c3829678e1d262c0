#pragma once

#include <string>

#include "web/http_message.h"

namespace minimind {

/// Status line and headers of an answer. `framing`: the header that says where the body ends, or nothing if the end of
/// the connection says it.
std::string head_text(const HttpResponse& response, const std::string& framing, bool keep_alive);

/// A whole answer.
std::string whole_text(const HttpResponse& response, bool keep_alive, bool head_only = false);

}  // namespace minimind
