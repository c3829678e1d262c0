#include "web/api_error.h"

#include <nlohmann/json.hpp>

namespace minimind {

std::string api_error_json(const ApiError& error) {
  using Json = nlohmann::ordered_json;
  const int status = error.status();
  const char* type = status == 429 ? "rate_limit_error" : status < 500 ? "invalid_request_error" : "server_error";
  const auto text_or_null = [](const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); };
  const Json json = {{"error",
                      {{"message", error.what()},
                       {"type", type},
                       {"param", text_or_null(error.param())},
                       {"code", text_or_null(error.code())}}}};
  // Messages quote what a client sent.
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

HttpResponse api_error_response(const ApiError& error) {
  HttpResponse response{error.status(), "application/json", api_error_json(error), {}};
  if (error.status() == 429 || error.status() == 503) {
    response.headers.emplace_back("Retry-After", "1");
  }
  return response;
}

}  // namespace minimind
