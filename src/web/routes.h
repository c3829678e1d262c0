#pragma once

#include <memory>
#include <string>
#include <vector>

#include "web/chat_service.h"
#include "web/http_server.h"
#include "web/server_metrics.h"

namespace minimind::detail {

/// What the routes tell of the server.
struct ServerFacts {
  std::string model;  ///< its name in the API
  int64_t created = 0;
  std::string settings_json;  ///< for the page: limits and defaults
  /// Names by which a client may ask for the server, beside this machine's own (localhost and the like); "*": any.
  std::vector<std::string> hosts;
};

/// Finds the answer to every request: the page, /healthz, /metrics, /v1/models, /v1/chat/completions.
class Routes {
 public:
  Routes(ServerFacts facts, ChatService& service, ServerMetrics& metrics);
  void handle(HttpRequest request, std::shared_ptr<Reply> reply);
  /// /healthz answers 503 from now on.
  void tell_of_shutdown() { stopping_ = true; }

 private:
  void require_own_name(const HttpRequest& request) const;
  void handle_chat(HttpRequest request, std::shared_ptr<Reply> reply);
  HttpResponse get(const std::string& path) const;
  HttpResponse model_list(const std::string& path) const;

  ServerFacts facts_;
  ChatService& service_;
  ServerMetrics& metrics_;
  bool stopping_ = false;
};

}  // namespace minimind::detail
