#include "web/api_error.h"

#include <nlohmann/json.hpp>

namespace minimind {

namespace {

std::string error_type(int status) {
  return status == 429 ? "rate_limit_error" : status < 500 ? "invalid_request_error" : "server_error";
}

}  // namespace

std::string api_error_json(const ApiError& error) {
  const auto text_or_null = [](const std::string& text) {
    return text.empty() ? nlohmann::json(nullptr) : nlohmann::json(text);
  };
  nlohmann::ordered_json inner;
  inner["message"] = error.what();
  inner["type"] = error_type(error.status());
  inner["param"] = text_or_null(error.param());
  inner["code"] = text_or_null(error.code());
  nlohmann::ordered_json json;
  json["error"] = std::move(inner);
  // Messages quote what a client sent.
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

HttpResponse api_error_response(const ApiError& error) {
  HttpResponse response{error.status(), "application/json", api_error_json(error), {}};
  if (error.status() == 429 || error.status() == 503) {
    response.headers.emplace_back("Retry-After", "1");
  }
  return response;
}

}  // namespace minimind
