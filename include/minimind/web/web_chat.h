#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

#include "minimind/base/fields.h"
#include "minimind/chat/eval_chat.h"

namespace minimind {

/// The settings of web_chat.
struct WebChatOptions {
  EvalChatOptions chat;  ///< model files and generation defaults
  std::string host = "127.0.0.1";
  std::vector<std::string> allowed_hosts;
  std::vector<std::string> allowed_origins;
  int64_t port = 8080;
  std::string model_name;

  int64_t max_body_mb = 24;
  int64_t max_pictures = 8;
  int64_t max_megapixels = 50;
  int64_t max_queue = 64;
  int64_t max_connections = 512;
  double request_seconds = 120;
  double shutdown_seconds = 30;

  Fields file_fields();
  Fields server_fields();
  Fields limit_fields();
  Fields answer_fields();
  /// Sets what depends on other options. Throws UsageError if a value is out of range.
  void resolve();
};

/// Serves the chat page and the API until SIGTERM or SIGINT. The first signal lets running answers finish, the second
/// ends them. Writes one line with the address to `out`. Returns the exit code. Throws Error if a file cannot be read
/// or the address is not available.
int run_web_chat(const WebChatOptions& options, std::ostream& out);

}  // namespace minimind
