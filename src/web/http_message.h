#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace minimind {

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method;   ///< as sent: upper case
  std::string path;     ///< as sent, without the query; percent signs are not decoded
  HttpHeaders headers;  ///< names in lower case, in the order sent
  std::string body;
  bool keep_alive = true;           ///< whether the client wants to send further requests on the connection
  bool http_1_0 = false;            ///< takes no chunked answer
  std::shared_ptr<void> held_body;  ///< while it lives, the server counts the body's bytes as held; may be null

  /// The first header of this lower-case name; null if there is no such header.
  const std::string* header(std::string_view name) const {
    const auto found = std::ranges::find(headers, name, &HttpHeaders::value_type::first);
    return found == headers.end() ? nullptr : &found->second;
  }
};

struct HttpResponse {
  int status = 200;
  std::string content_type;
  std::string body;
  HttpHeaders headers;  ///< further headers
};

/// Takes the answer to one request: whole (send), or in pieces (begin, write…, finish). Any thread may call the
/// functions, one thread at a time; no function blocks. What a slow client has not taken waits in memory. If a reply
/// is destroyed unfinished, the connection ends, with status 500 if nothing was sent yet.
class Reply {
 public:
  virtual ~Reply() = default;
  virtual void send(const HttpResponse& response) = 0;
  /// Sends status and headers; `head.body` is the first piece of the body.
  virtual void begin(const HttpResponse& head) = 0;
  virtual void write(std::string_view piece) = 0;
  virtual void finish() = 0;
  /// Whether the client has gone or takes nothing any more, so that the answer is of no use.
  virtual bool gone() const = 0;
};

/// Takes a whole request. Called on the server's thread; must not block. The server must outlive the reply.
using HttpHandler = std::function<void(HttpRequest, std::shared_ptr<Reply>)>;

class ApiError;
/// Makes the answer to what is no request or exceeds a limit. Called on the server's thread.
using HttpRefusal = std::function<HttpResponse(const ApiError&)>;

}  // namespace minimind
