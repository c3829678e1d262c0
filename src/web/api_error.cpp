#include "web/api_error.h"

#include "base/json.h"

namespace minimind {

ApiError out_of_memory() {
  return {503, "the server lacks memory for this request; send smaller images or try again later", "", "out_of_memory"};
}

std::string api_error_json(const ApiError& error) {
  const int status = error.status();
  const char* type = status == 429 ? "rate_limit_error" : status < 500 ? "invalid_request_error" : "server_error";
  const auto text_or_null = [](const std::string& text) {
    return text.empty() ? OrderedJson(nullptr) : OrderedJson(text);
  };
  const OrderedJson json = {{"error",
                             {{"message", error.what()},
                              {"type", type},
                              {"param", text_or_null(error.param())},
                              {"code", text_or_null(error.code())}}}};
  // Messages quote what a client sent.
  return json.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

HttpResponse api_error_response(const ApiError& error) {
  HttpResponse response{error.status(), "application/json", api_error_json(error), {}};
  if (error.status() == 429 || error.status() == 503) {
    response.headers.emplace_back("Retry-After", "1");
  }
  return response;
}

}  // namespace minimind
