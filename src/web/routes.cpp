#include "web/routes.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/utf8.h"
#include "minimind/base/error.h"
#include "web/api_error.h"
#include "web/page.h"

namespace minimind::detail {

namespace {

constexpr std::string_view kChatPath = "/v1/chat/completions";
constexpr std::string_view kModelsPath = "/v1/models";

/// The page loads from itself alone, and no other page may frame it.
constexpr const char* kPagePolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

std::string type_of_file(std::string_view name) {
  return name.ends_with(".html")  ? "text/html; charset=utf-8"
         : name.ends_with(".css") ? "text/css; charset=utf-8"
         : name.ends_with(".js")  ? "text/javascript; charset=utf-8"
                                  : "application/octet-stream";
}

const PageFile* page_file(std::string_view path) {
  const std::string_view name = path == "/" ? "index.html" : path.substr(1);
  const auto found =
      std::find_if(page_files().begin(), page_files().end(), [&](const PageFile& file) { return file.name == name; });
  return found == page_files().end() ? nullptr : &*found;
}

/// Paths that GET knows, for the count of answers: a client's own paths must not fill the metrics.
bool is_get_path(const std::string& path) {
  return page_file(path) != nullptr || path == "/healthz" || path == "/metrics" || path == "/settings.json" ||
         path == kModelsPath;
}

bool is_json(const HttpRequest& request) {
  const std::string* type = request.header("content-type");
  if (type == nullptr) {
    return false;
  }
  std::string name = type->substr(0, type->find(';'));
  name.erase(name.find_last_not_of(" \t") + 1);
  return ascii_lower(name) == "application/json";
}

ApiError wrong_method(const std::string& allowed, const std::string& found) {
  return ApiError(405, concat("method: expected ", allowed, ", found ", found.substr(0, 20)), "", "method_not_allowed");
}

/// The name in a Host header, without the port. An IPv6 address has brackets there; one without them is taken too.
std::string name_of_host(std::string_view host) {
  const bool is_bare_address = !host.starts_with('[') && host.find(':') != host.rfind(':');
  const size_t end = host.starts_with('[') ? host.find(']') + 1 : is_bare_address ? host.npos : host.find(':');
  const std::string name = is_bare_address ? concat('[', ascii_lower(host), ']') : ascii_lower(host.substr(0, end));
  return name.ends_with('.') ? name.substr(0, name.size() - 1) : name;
}

bool is_this_machine(const std::string& name) {
  const bool is_address = name.starts_with("127.") && name.find_first_not_of("0123456789.") == std::string::npos;
  return is_address || name == "localhost" || name.ends_with(".localhost") || name == "[::1]";
}

ApiError unknown_path() {
  return ApiError(404, "path: expected /, /v1/chat/completions, /v1/models, /healthz or /metrics, found another", "",
                  "not_found");
}

}  // namespace

Routes::Routes(ServerFacts facts, ChatService& service, ServerMetrics& metrics)
    : facts_(std::move(facts)), service_(service), metrics_(metrics) {
  for (std::string& host : facts_.hosts) {
    host = name_of_host(host);
  }
}

/// A web page can give its own name this machine's address (DNS rebinding): then a browser would let it read answers,
/// and sends that name.
void Routes::require_own_name(const HttpRequest& request) const {
  const std::string* host = request.header("host");
  const std::string name = host == nullptr ? "" : name_of_host(*host);
  const auto is_allowed = [&](const std::string& allowed) { return allowed == "*" || allowed == name; };
  if (host != nullptr && !is_this_machine(name) && std::none_of(facts_.hosts.begin(), facts_.hosts.end(), is_allowed)) {
    throw ApiError(403,
                   concat("Host: expected localhost, this machine's address or a name of --allowed_hosts, found ",
                          name.substr(0, 60)),
                   "", "host_not_allowed");
  }
}

void Routes::handle(HttpRequest request, std::shared_ptr<Reply> reply) {
  try {
    require_own_name(request);
  } catch (const ApiError& error) {
    metrics_.count_response("other", error.status());
    reply->send(api_error_response(error));
    return;
  }
  if (request.path == kChatPath) {
    handle_chat(std::move(request), std::move(reply));
    return;
  }
  HttpResponse response;
  try {
    if (request.method != "GET" && request.method != "HEAD" && is_get_path(request.path)) {
      throw wrong_method("GET", request.method);
    }
    response = get(request.path);
  } catch (const ApiError& error) {
    response = api_error_response(error);
    if (error.status() == 405) {
      response.headers.emplace_back("Allow", "GET, HEAD");
    }
  }
  metrics_.count_response(is_get_path(request.path) ? request.path : "other", response.status);
  reply->send(response);
}

void Routes::handle_chat(HttpRequest request, std::shared_ptr<Reply> reply) {
  const auto refuse = [&](const ApiError& error) {
    HttpResponse response = api_error_response(error);
    if (error.status() == 405) {
      response.headers.emplace_back("Allow", "POST");
    }
    metrics_.count_response(std::string(kChatPath), error.status());
    reply->send(response);
  };
  if (request.method != "POST") {
    return refuse(wrong_method("POST", request.method));
  }
  // Other types would let any web page ask here without the browser asking first.
  if (!is_json(request)) {
    return refuse(ApiError(415, "Content-Type: expected application/json", "", "unsupported_media_type"));
  }
  const std::string* coding = request.header("content-encoding");
  if (coding != nullptr && *coding != "identity") {
    return refuse(ApiError(415, "Content-Encoding: expected none", "", "unsupported_media_type"));
  }
  service_.submit(std::move(request), std::move(reply));
}

HttpResponse Routes::get(const std::string& path) const {
  if (const PageFile* file = page_file(path)) {
    return {
        200,
        type_of_file(file->name),
        std::string(file->bytes),
        {{"Content-Security-Policy", kPagePolicy}, {"Referrer-Policy", "no-referrer"}, {"Cache-Control", "no-cache"}}};
  }
  if (path == "/healthz") {
    return {
        stopping_ ? 503 : 200, "application/json", stopping_ ? R"({"status":"stopping"})" : R"({"status":"ok"})", {}};
  }
  if (path == "/metrics") {
    return {200, "text/plain; version=0.0.4; charset=utf-8", metrics_.text(), {}};
  }
  if (path == "/settings.json") {
    return {200, "application/json", facts_.settings_json, {{"Cache-Control", "no-store"}}};
  }
  if (path.starts_with(kModelsPath)) {
    return model_list(path);
  }
  throw unknown_path();
}

HttpResponse Routes::model_list(const std::string& path) const {
  nlohmann::ordered_json model;
  model["id"] = facts_.model;
  model["object"] = "model";
  model["created"] = facts_.created;
  model["owned_by"] = "local";
  if (path == kModelsPath) {
    nlohmann::ordered_json list;
    list["object"] = "list";
    list["data"] = nlohmann::ordered_json::array({model});
    return {200, "application/json", list.dump(), {}};
  }
  if (path == concat(kModelsPath, "/", facts_.model)) {
    return {200, "application/json", model.dump(), {}};
  }
  throw path.starts_with("/v1/models/")
      ? ApiError(404, concat("model: expected \"", facts_.model, "\", found another"), "model", "model_not_found")
      : unknown_path();
}

}  // namespace minimind::detail
