#include "web/http_text.h"

#include <boost/beast/http/status.hpp>

#include "minimind/base/error.h"

namespace minimind {

namespace {

constexpr int kNoContent = 204;  // the status without a body and its length

}  // namespace

std::string head_text(const HttpResponse& response, const std::string& framing, bool keep_alive) {
  const auto reason = boost::beast::http::obsolete_reason(static_cast<boost::beast::http::status>(response.status));
  std::string head = concat("HTTP/1.1 ", response.status, ' ', reason, "\r\n", framing);
  if (!response.content_type.empty()) {
    head += concat("Content-Type: ", response.content_type, "\r\n");
  }
  for (const auto& [name, value] : response.headers) {
    head += concat(name, ": ", value, "\r\n");
  }
  return head + "X-Content-Type-Options: nosniff\r\nConnection: " + (keep_alive ? "keep-alive" : "close") + "\r\n\r\n";
}

std::string whole_text(const HttpResponse& response, bool keep_alive, bool head_only) {
  const std::string framing =
      response.status == kNoContent ? "" : concat("Content-Length: ", response.body.size(), "\r\n");
  return head_text(response, framing, keep_alive) + (head_only ? "" : response.body);
}

}  // namespace minimind
