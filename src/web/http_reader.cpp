#include "web/http_reader.h"

#include <algorithm>
#include <boost/beast/core/string.hpp>

#include "base/text.h"
#include "web/api_error.h"

namespace minimind {

namespace {

namespace http = boost::beast::http;
using boost::beast::iequals;
using boost::system::error_code;

std::string_view view(const boost::beast::string_view& text) {
  return {text.data(), text.size()};
}

[[noreturn]] void refuse(int status, const std::string& code, const std::string& message) {
  throw ApiError(status, message, "", code);
}

constexpr const char* kBadRequestLine = "request line: expected METHOD /PATH HTTP/1.1";
constexpr const char* kTlsGreeting =
    "request line: expected METHOD /PATH HTTP/1.1, found a TLS greeting; this server has no TLS, use http:// instead "
    "of "
    "https://";
constexpr char kTlsHandshake = 0x16;  // the first byte of a TLS connection
constexpr const char* kBadHeaders = "headers: expected lines of the form Name: value, without control characters";

[[noreturn]] void refuse_size(size_t limit) {
  refuse(413, "body_too_large", concat("body: expected at most ", limit, " bytes, found more"));
}

/// Refuses request line and headers for the parser's reason.
[[noreturn]] void refuse_head(const error_code& error, std::string_view head, size_t body_bytes) {
  const std::string_view line = head.substr(0, head.find("\r\n"));
  const std::string_view version = line.substr(line.rfind(' ') + 1);
  switch (static_cast<http::error>(error.value())) {
    case http::error::body_limit:
      refuse_size(body_bytes);
    case http::error::bad_content_length:
      refuse(400, "bad_content_length", "Content-Length: expected one whole number of bytes");
    case http::error::bad_transfer_encoding:
      refuse(400, "bad_transfer_encoding", "Transfer-Encoding: expected it once and without Content-Length");
    case http::error::bad_version:
      // The parser has this error also for request lines of another form.
      if (version.starts_with("HTTP/") && version.size() == 8 && version != "HTTP/1.0" && version != "HTTP/1.1") {
        refuse(505, "http_version", concat("request line: expected HTTP/1.1 or HTTP/1.0, found ", version));
      }
      [[fallthrough]];
    case http::error::bad_method:
    case http::error::bad_target:
      refuse(400, "bad_request_line", kBadRequestLine);
    default:
      refuse(400, "bad_header", kBadHeaders);
  }
}

/// Refuses what the parser accepts although other programs read it in another way.
void check_head(const http::request<HttpBody>& message, std::string_view head) {
  if (head.find("\r\n ") != head.npos || head.find("\r\n\t") != head.npos) {
    refuse(400, "bad_header", kBadHeaders);  // a header of two lines
  }
  const size_t codings = message.count(http::field::transfer_encoding);
  if (codings > 1 || (codings == 1 && message.version() < 11)) {
    refuse(400, "bad_transfer_encoding", "Transfer-Encoding: expected it once, and HTTP/1.1");
  }
  if (codings == 1 && !iequals(message[http::field::transfer_encoding], "chunked")) {
    refuse(501, "bad_transfer_encoding", "Transfer-Encoding: expected chunked");
  }
  if (message.count(http::field::expect) > 0 && !iequals(message[http::field::expect], "100-continue")) {
    refuse(417, "bad_expectation", "Expect: expected 100-continue");
  }
  const size_t hosts = message.count(http::field::host);
  if (hosts > 1 || (hosts == 0 && message.version() >= 11)) {
    refuse(400, "bad_header", concat("Host: expected it once in a request of HTTP/1.1, found it ", hosts, " times"));
  }
}

/// Refuses a connection whose first byte begins no method, for example TLS, without waiting for the end of a head.
void check_first_byte(char first) {
  const bool is_token = (first >= 'A' && first <= 'Z') || (first >= 'a' && first <= 'z') ||
                        (first >= '0' && first <= '9') ||
                        std::string_view("!#$%&'*+-.^_`|~").find(first) != std::string_view::npos;
  if (!is_token) {
    refuse(400, "bad_request_line", first == kTlsHandshake ? kTlsGreeting : kBadRequestLine);
  }
}

}  // namespace

HttpReader::State HttpReader::state() const {
  if (!parser_) {
    return unread_.empty() ? State::kNothing : State::kHead;
  }
  return parser_->is_done() ? State::kWhole : State::kBody;
}

HttpReader::State HttpReader::read(std::string_view bytes) {
  unread_ += bytes;
  if (!parser_) {
    read_head();
  }
  if (state() == State::kBody && !unread_.empty()) {
    read_body();
  }
  return state();
}

void HttpReader::read_head() {
  unread_.erase(0, unread_.find_first_not_of("\r\n"));  // old clients send empty lines behind a body
  if (!unread_.empty()) {
    check_first_byte(unread_.front());
  }
  const size_t end = std::string_view(unread_).substr(0, head_bytes_).find("\r\n\r\n");
  if (end == std::string::npos && unread_.size() < head_bytes_) {
    return;
  }
  if (end == std::string::npos) {
    refuse(431, "headers_too_large",
           concat("headers: expected at most ", head_bytes_, " bytes of request line and headers, found more"));
  }
  const std::string head = unread_.substr(0, end + 4);
  unread_.erase(0, end + 4);
  parser_.emplace();
  parser_->eager(true);
  parser_->header_limit(static_cast<uint32_t>(head_bytes_));
  parser_->body_limit(body_bytes_);
  error_code error;
  parser_->put(boost::asio::buffer(head), error);
  if (error) {
    refuse_head(error, head, body_bytes_);
  }
  const auto& message = parser_->get();
  check_head(message, head);
  // Copied before the body is read, because the parser adds trailers to the headers.
  request_.method = view(message.method_string());
  request_.keep_alive = parser_->keep_alive();
  request_.http_1_0 = message.version() < 11;
  for (const auto& field : message) {
    request_.headers.emplace_back(lower_case(view(field.name_string())), view(field.value()));
  }
  read_target(view(message.target()));
  wants_continue_ = message.count(http::field::expect) > 0;
}

/// Reads `/path?query`, or the absolute form `http://host/path` that proxies get (RFC 9112, section 3.2.2): its host
/// counts instead of the header's.
void HttpReader::read_target(std::string_view target) {
  if (const size_t scheme = target.find("://"); scheme != target.npos && !target.starts_with('/')) {
    const std::string name = lower_case(target.substr(0, scheme));
    target.remove_prefix(scheme + 3);
    const std::string_view host = target.substr(0, target.find_first_of("/?"));
    if ((name != "http" && name != "https") || host.empty() || host.find('@') != host.npos) {
      refuse(400, "bad_request_line", kBadRequestLine);
    }
    std::erase_if(request_.headers, [](const auto& header) { return header.first == "host"; });
    request_.headers.emplace_back("host", host);
    target.remove_prefix(host.size());
    request_.path = target.starts_with('/') ? "" : "/";
  }
  request_.path += target.substr(0, target.find('?'));
  if (!request_.path.starts_with('/') || std::ranges::any_of(target, [](char c) { return c < 0; })) {
    refuse(400, "bad_request_line", kBadRequestLine);
  }
}

void HttpReader::read_body() {
  error_code error;
  unread_.erase(0, parser_->put(boost::asio::buffer(unread_), error));
  if (error == http::error::body_limit) {
    refuse_size(body_bytes_);
  }
  // Lines between chunks and trailers remain unread until they are complete; the parser has no limit for them.
  if (error && (error != http::error::need_more || unread_.size() > head_bytes_)) {
    refuse(400, "bad_chunk", "chunked body: expected SIZE CRLF BYTES CRLF for each chunk");
  }
}

HttpRequest HttpReader::take() {
  request_.body = std::move(parser_->get().body());
  parser_.reset();
  return std::exchange(request_, {});
}

void HttpReader::clear() {
  parser_.reset();
  unread_ = {};
  request_ = {};
}

}  // namespace minimind
