#pragma once

#include <string>
#include <utility>

#include "minimind/base/error.h"
#include "web/http_message.h"

namespace minimind {

/// Why the API refuses a request or ends an answer: the content of its error object.
class ApiError : public Error {
 public:
  /// `param`: the field, or ""; `code`: a constant for programs.
  ApiError(int status, const std::string& message, std::string param = "", std::string code = "")
      : Error(message), status_(status), param_(std::move(param)), code_(std::move(code)) {}

  int status() const { return status_; }
  const std::string& param() const { return param_; }
  const std::string& code() const { return code_; }

 private:
  int status_;
  std::string param_;
  std::string code_;
};

/// Status 503 for a request that the memory does not suffice for.
ApiError out_of_memory();

/// `{"error": {"message", "type", "param", "code"}}`, the form of OpenAI's API.
std::string api_error_json(const ApiError& error);
HttpResponse api_error_response(const ApiError& error);

}  // namespace minimind
