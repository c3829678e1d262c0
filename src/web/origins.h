#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "web/http_message.h"

namespace minimind {

/// The web pages that browsers let use the API beside this server's own page (CORS). Pages that this machine serves
/// may; others by name.
class Origins {
 public:
  /// `allowed`: origins as browsers send them, `https://chat.example`; "*": every page.
  explicit Origins(std::vector<std::string> allowed);

  /// The headers that let the page of this request read the answer; none if it may not or no page asks.
  HttpHeaders headers_for(const HttpRequest& request) const;
  /// Whether the request is a browser's question before the real request.
  static bool is_preflight(const HttpRequest& request);
  /// The answer to it. Throws ApiError with status 403 if the page may not use the API.
  HttpResponse answer_preflight(const HttpRequest& request) const;

 private:
  bool allows(std::string_view origin) const;

  std::vector<std::string> allowed_;
};

/// Throws UsageError unless the text is `*`, `null` or `scheme://host[:port]`.
void check_origin(const std::string& flag, const std::string& origin);

/// The reply with further headers in every answer.
std::shared_ptr<Reply> with_headers(std::shared_ptr<Reply> reply, HttpHeaders headers);

/// The name in a Host header, without the port, in lower case. An IPv6 address gets brackets if it has none.
std::string host_name(std::string_view host);

/// Whether a host name is a name of this machine alone.
bool is_this_machine(const std::string& name);

}  // namespace minimind
