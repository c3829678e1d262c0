#pragma once

#include <boost/beast/http/parser.hpp>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "web/http_body.h"
#include "web/http_message.h"

namespace minimind {

/// Reads the requests of one connection out of its bytes, as they arrive.
class HttpReader {
 public:
  enum class State { kNothing, kHead, kBody, kWhole };

  /// Limits: of request line and headers together, and of the body.
  HttpReader(size_t head_bytes, size_t body_bytes) : head_bytes_(head_bytes), body_bytes_(body_bytes) {}

  /// Reads on with further bytes (or none, after take()); bytes behind a whole request wait for the next one. Throws
  /// ApiError if the bytes are no request or exceed a limit; then the reader must not be used any more.
  State read(std::string_view bytes);
  State state() const;
  /// Bytes of memory that the body takes.
  size_t body_bytes() const {
    return parser_ && parser_->get().body().size() > 0 ? parser_->get().body().capacity() : 0;
  }
  /// Whether the client waits for `100 Continue` before it sends the body. True once a request.
  bool take_wants_continue() { return std::exchange(wants_continue_, false); }
  /// Returns the whole request and begins the next one.
  HttpRequest take();
  /// Frees the memory of a request that is refused.
  void clear();

 private:
  void read_head();
  void read_target(std::string_view target);
  void read_body();

  size_t head_bytes_;
  size_t body_bytes_;
  std::string unread_;
  std::optional<boost::beast::http::request_parser<HttpBody>> parser_;  ///< behind the headers
  HttpRequest request_;
  bool wants_continue_ = false;
};

}  // namespace minimind
