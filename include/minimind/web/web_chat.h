#pragma once

#include <cstdint>
#include <string>

#include "minimind/base/fields.h"
#include "minimind/chat/eval_chat.h"

namespace minimind {

/// Everything that web_chat is told.
struct WebChatOptions {
  EvalChatOptions chat;  ///< files and ways of answering, with the same meaning as there
  std::string host = "127.0.0.1";
  std::vector<std::string> allowed_hosts;
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
  /// Fills in what depends on other options. Throws UsageError on what cannot be.
  void resolve();
};

/// Serves the chat page and the API until SIGTERM or SIGINT, which let the answers under way be finished (a second
/// signal ends at once). Returns the exit code. Throws Error if a file or the address cannot be had.
int run_web_chat(const WebChatOptions& options);

}  // namespace minimind
