#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "web/chat_service.h"
#include "web/http_message.h"
#include "web/origins.h"
#include "web/server_metrics.h"

namespace minimind {

struct RouteOptions {
  std::string model;          ///< its name in the API
  std::string settings_json;  ///< limits and defaults for the page
  /// Accepted names of this server in the Host header, beside localhost and loopback addresses; "*": any name.
  std::vector<std::string> hosts;
  std::vector<std::string> origins;  ///< pages that may use the API (see Origins)
};

/// Answers each request: the page, /healthz, /metrics, /settings.json, /v1/models, /v1/chat/completions.
class Routes {
 public:
  Routes(RouteOptions options, ChatService& service, ServerMetrics& metrics);

  void handle(HttpRequest request, std::shared_ptr<Reply> reply);
  /// Makes /healthz answer 503.
  void announce_shutdown() { stopping_ = true; }

 private:
  void check_host(const HttpRequest& request) const;
  HttpResponse get(const HttpRequest& request) const;
  HttpResponse models(const std::string& path) const;

  RouteOptions options_;
  Origins origins_;
  int64_t created_;  ///< seconds since 1970
  ChatService& service_;
  ServerMetrics& metrics_;
  bool stopping_ = false;
};

}  // namespace minimind
