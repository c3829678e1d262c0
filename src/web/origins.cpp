#include "web/origins.h"

#include <algorithm>
#include <utility>

#include "base/text.h"
#include "minimind/base/error.h"
#include "web/api_error.h"

namespace minimind {

namespace {

constexpr std::string_view kSchemeEnd = "://";

/// Passes an answer on with further headers.
class HeaderReply : public Reply {
 public:
  HeaderReply(std::shared_ptr<Reply> reply, HttpHeaders headers)
      : reply_(std::move(reply)), headers_(std::move(headers)) {}

  void send(const HttpResponse& response) override { reply_->send(extended(response)); }
  void begin(const HttpResponse& head) override { reply_->begin(extended(head)); }
  void write(std::string_view piece) override { reply_->write(piece); }
  void finish() override { reply_->finish(); }
  bool gone() const override { return reply_->gone(); }

 private:
  HttpResponse extended(HttpResponse response) const {
    response.headers.insert(response.headers.end(), headers_.begin(), headers_.end());
    return response;
  }

  std::shared_ptr<Reply> reply_;
  HttpHeaders headers_;
};

/// The origin in lower case, without a slash at its end.
std::string plain_origin(std::string_view origin) {
  return lower_case(strip(origin.substr(0, origin.ends_with('/') ? origin.size() - 1 : origin.size())));
}

}  // namespace

Origins::Origins(std::vector<std::string> allowed) : allowed_(std::move(allowed)) {
  for (std::string& origin : allowed_) {
    origin = plain_origin(origin);
  }
}

bool Origins::allows(std::string_view origin) const {
  const std::string name = plain_origin(origin);
  const size_t host = name.find(kSchemeEnd);
  const bool is_web = name.starts_with("http://") || name.starts_with("https://");
  return (is_web && is_this_machine(host_name(std::string_view(name).substr(host + kSchemeEnd.size())))) ||
         std::ranges::any_of(allowed_, [&](const std::string& one) { return one == "*" || one == name; });
}

HttpHeaders Origins::headers_for(const HttpRequest& request) const {
  const std::string* origin = request.header("origin");
  if (origin == nullptr) {
    return {};
  }
  HttpHeaders headers = {{"Vary", "Origin"}};
  if (allows(*origin)) {
    headers.emplace_back("Access-Control-Allow-Origin", *origin);
    headers.emplace_back("Access-Control-Expose-Headers", "Retry-After");
  }
  return headers;
}

bool Origins::is_preflight(const HttpRequest& request) {
  return request.method == "OPTIONS" && request.header("origin") != nullptr &&
         request.header("access-control-request-method") != nullptr;
}

HttpResponse Origins::answer_preflight(const HttpRequest& request) const {
  const std::string& origin = *request.header("origin");
  if (!allows(origin)) {
    throw ApiError(403,
                   concat("Origin: expected a page of this machine or of --allowed_origins, found ",
                          std::string_view(origin).substr(0, 100)),
                   "", "origin_not_allowed");
  }
  HttpResponse response{204, "", "", {{"Access-Control-Allow-Methods", "GET, HEAD, POST"}}};
  if (const std::string* asked = request.header("access-control-request-headers")) {
    response.headers.emplace_back("Access-Control-Allow-Headers", *asked);
  }
  if (request.header("access-control-request-private-network") != nullptr) {
    response.headers.emplace_back("Access-Control-Allow-Private-Network", "true");
  }
  response.headers.emplace_back("Access-Control-Max-Age", "600");
  return response;
}

void check_origin(const std::string& flag, const std::string& origin) {
  const std::string name = plain_origin(origin);
  const size_t scheme = name.find(kSchemeEnd);
  const std::string_view host =
      scheme == std::string::npos ? "" : std::string_view(name).substr(scheme + kSchemeEnd.size());
  if (name != "*" && name != "null" && (scheme == 0 || host.empty() || host.find_first_of("/?#@ *") != host.npos)) {
    throw UsageError(concat("--", flag,
                            ": expected origins like https://chat.example or http://192.168.0.2:3000, or *, "
                            "found ",
                            origin));
  }
}

std::shared_ptr<Reply> with_headers(std::shared_ptr<Reply> reply, HttpHeaders headers) {
  return headers.empty() ? std::move(reply) : std::make_shared<HeaderReply>(std::move(reply), std::move(headers));
}

std::string host_name(std::string_view host) {
  if (!host.starts_with('[') && host.find(':') != host.rfind(':')) {
    return concat('[', lower_case(host), ']');
  }
  std::string name = lower_case(host.substr(0, host.starts_with('[') ? host.find(']') + 1 : host.find(':')));
  if (name.ends_with('.')) {
    name.pop_back();
  }
  return name;
}

bool is_this_machine(const std::string& name) {
  const bool is_address = name.starts_with("127.") && name.find_first_not_of("0123456789.") == std::string::npos;
  return is_address || name == "localhost" || name.ends_with(".localhost") || name == "[::1]";
}

}  // namespace minimind
