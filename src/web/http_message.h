#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace minimind {

struct HttpRequest {
  std::string method;  ///< as sent: upper case
  std::string path;    ///< without the query, as sent (percent signs are not decoded)
  std::string query;   ///< behind the `?`
  std::vector<std::pair<std::string, std::string>> headers;  ///< names in lower case, in the order sent
  std::string body;
  bool keep_alive = true;           ///< whether the client wants the connection to go on
  bool http_1_0 = false;            ///< no chunked answers
  std::shared_ptr<void> held_body;  ///< counts the body's bytes as held as long as it lives; may be null

  /// The first header of that (lower-case) name; null if there is none.
  const std::string* header(std::string_view name) const;
};

struct HttpResponse {
  int status = 200;
  std::string content_type;
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;  ///< further ones
};

/// What is wrong with a request as a message of HTTP.
struct HttpFailure {
  int status = 400;
  std::string code;     ///< a word for programs
  std::string message;  ///< for people
};

/// `Not Found` of 404.
std::string_view http_reason(int status);

struct HttpParserLimits {
  size_t head_bytes = size_t{16} << 10;  ///< request line and headers
  size_t body_bytes = size_t{24} << 20;
};

/// Reads one request of HTTP/1.0 or 1.1 out of bytes as they come. Lines end with CRLF; a body has a Content-Length or
/// is chunked, never both.
class HttpParser {
 public:
  enum class State {
    kHead,    ///< wants (more of) the request line and headers
    kBody,    ///< wants (more of) the body
    kDone,    ///< take() has the request
    kFailed,  ///< failure() says why; nothing more can be read from this client
  };

  explicit HttpParser(const HttpParserLimits& limits) : limits_(limits) {}

  /// Takes bytes until the request is whole or wrong. Returns how many it took; the rest belongs to the next request.
  size_t feed(std::string_view bytes);
  State state() const { return state_; }
  /// Whether a byte of the request has come.
  bool begun() const { return state_ != State::kHead || !head_.empty(); }
  /// Bytes of the body held so far.
  size_t body_size() const { return request_.body.size(); }
  /// Bytes that the body has if its length was told, else what came so far.
  size_t expected_body_size() const;
  /// The client waits for `100 Continue` before it sends the body. True once.
  bool take_wants_continue();
  const HttpFailure& failure() const { return failure_; }
  /// The whole request; the parser then begins anew.
  HttpRequest take();

 private:
  enum class Part { kLength, kChunkLine, kChunkData, kChunkEnd, kTrailer };

  size_t feed_head(std::string_view bytes);
  size_t feed_body(std::string_view bytes);
  size_t feed_line(std::string_view bytes);
  void read_head();
  void read_request_line(std::string_view line);
  void read_header(std::string_view line);
  void read_framing();
  void read_chunk_line();
  void fail_with(int status, std::string code, std::string message);

  HttpParserLimits limits_;
  State state_ = State::kHead;
  Part part_ = Part::kLength;
  std::string head_;
  std::string line_;
  size_t trailer_bytes_ = 0;
  size_t left_ = 0;  ///< bytes of the body, or of the chunk, still to come
  bool wants_continue_ = false;
  HttpRequest request_;
  HttpFailure failure_;
};

}  // namespace minimind
