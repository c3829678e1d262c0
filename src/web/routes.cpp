#include "web/routes.h"

#include <algorithm>
#include <array>
#include <ctime>
#include <string_view>
#include <utility>

#include "base/json.h"
#include "base/percent.h"
#include "base/text.h"
#include "minimind/base/error.h"
#include "web/api_error.h"
#include "web/page.h"

namespace minimind {

namespace {

constexpr std::string_view kChatPath = "/v1/chat/completions";
constexpr std::string_view kModelsPath = "/v1/models";
constexpr std::array<std::string_view, 4> kGetPaths = {"/healthz", "/metrics", "/settings.json", kModelsPath};

/// The page loads from this server alone, and no other page may frame it.
constexpr const char* kPagePolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

std::string content_type(std::string_view name) {
  return name.ends_with(".html")  ? "text/html; charset=utf-8"
         : name.ends_with(".css") ? "text/css; charset=utf-8"
         : name.ends_with(".js")  ? "text/javascript; charset=utf-8"
                                  : "application/octet-stream";
}

const PageFile* page_file(std::string_view path) {
  const auto found = std::ranges::find(page_files(), path == "/" ? "index.html" : path.substr(1), &PageFile::name);
  return found == page_files().end() ? nullptr : &*found;
}

/// The path in the count of answers; paths that clients invent must not fill the metrics.
std::string counted_path(const std::string& path) {
  const bool is_known = path == kChatPath || page_file(path) != nullptr || std::ranges::count(kGetPaths, path) > 0;
  return is_known ? path : "other";
}

void check_method(const HttpRequest& request, const std::string& allowed) {
  if (request.method != allowed && !(allowed == "GET" && request.method == "HEAD")) {
    throw ApiError(405, concat("method: expected ", allowed, ", found ", request.method.substr(0, 20)), "",
                   "method_not_allowed");
  }
}

/// Refuses other content types: with some of them any web page could ask here without the browser's preflight.
void check_chat_headers(const HttpRequest& request) {
  check_method(request, "POST");
  const std::string* type = request.header("content-type");
  std::string name = type == nullptr ? "" : lower_case(type->substr(0, type->find(';')));
  name.erase(name.find_last_not_of(" \t") + 1);
  if (name != "application/json") {
    throw ApiError(415, "Content-Type: expected application/json", "", "unsupported_media_type");
  }
  const std::string* coding = request.header("content-encoding");
  if (coding != nullptr && !strip(*coding).empty() && lower_case(strip(*coding)) != "identity") {
    throw ApiError(415, "Content-Encoding: expected no encoding, found " + coding->substr(0, 20), "",
                   "unsupported_media_type");
  }
}

}  // namespace

Routes::Routes(RouteOptions options, ChatService& service, ServerMetrics& metrics)
    : options_(std::move(options)),
      origins_(options_.origins),
      created_(std::time(nullptr)),
      service_(service),
      metrics_(metrics) {
  for (std::string& host : options_.hosts) {
    host = host_name(host);
  }
}

/// Refuses foreign names: a web page can give its own name this machine's address (DNS rebinding), and the browser
/// would let it read the answers.
void Routes::check_host(const HttpRequest& request) const {
  const std::string* host = request.header("host");
  const std::string name = host == nullptr ? "localhost" : host_name(*host);
  const auto is_accepted = [&](const std::string& accepted) { return accepted == "*" || accepted == name; };
  if (!is_this_machine(name) && std::ranges::none_of(options_.hosts, is_accepted)) {
    throw ApiError(403,
                   concat("Host: expected localhost, this machine's address or a name of --allowed_hosts, found ",
                          name.substr(0, 60)),
                   "", "host_not_allowed");
  }
}

void Routes::handle(HttpRequest request, std::shared_ptr<Reply> reply) {
  std::string counted = "other";
  HttpResponse response;
  reply = with_headers(std::move(reply), origins_.headers_for(request));
  try {
    check_host(request);
    counted = counted_path(request.path);
    if (Origins::is_preflight(request)) {
      response = origins_.answer_preflight(request);
    } else if (request.path == kChatPath) {
      check_chat_headers(request);
      service_.submit(std::move(request), std::move(reply));
      return;
    } else {
      response = get(request);
    }
  } catch (const ApiError& error) {
    response = api_error_response(error);
    if (error.status() == 405) {
      response.headers.emplace_back("Allow", request.path == kChatPath ? "POST" : "GET, HEAD");
    }
  }
  metrics_.count_response(counted, response.status);
  reply->send(response);
}

HttpResponse Routes::get(const HttpRequest& request) const {
  const std::string& path = request.path;
  if (counted_path(path) != "other") {
    check_method(request, "GET");
  }
  if (const PageFile* file = page_file(path)) {
    return {
        200,
        content_type(file->name),
        std::string(file->bytes),
        {{"Content-Security-Policy", kPagePolicy}, {"Referrer-Policy", "no-referrer"}, {"Cache-Control", "no-cache"}}};
  }
  if (path == "/healthz") {
    return {
        stopping_ ? 503 : 200, "application/json", concat(R"({"status":")", stopping_ ? "stopping" : "ok", "\"}"), {}};
  }
  if (path == "/metrics") {
    return {200, "text/plain; version=0.0.4; charset=utf-8", metrics_.text(), {}};
  }
  if (path == "/settings.json") {
    return {200, "application/json", options_.settings_json, {{"Cache-Control", "no-store"}}};
  }
  return models(path);
}

HttpResponse Routes::models(const std::string& path) const {
  const OrderedJson model = {{"id", options_.model}, {"object", "model"}, {"created", created_}, {"owned_by", "local"}};
  if (path == kModelsPath) {
    return {200, "application/json", OrderedJson{{"object", "list"}, {"data", OrderedJson::array({model})}}.dump(), {}};
  }
  if (path.starts_with(concat(kModelsPath, '/'))) {
    const std::string name = percent_decoded(std::string_view(path).substr(kModelsPath.size() + 1));
    if (name != options_.model) {
      throw ApiError(404, concat("model: expected \"", options_.model, "\", found ", name.substr(0, 60)), "model",
                     "model_not_found");
    }
    return {200, "application/json", model.dump(), {}};
  }
  throw ApiError(404,
                 concat("path: expected /, /v1/chat/completions, /v1/models, /healthz, /metrics or /settings.json, "
                        "found ",
                        path.substr(0, 200)),
                 "", "not_found");
}

}  // namespace minimind
