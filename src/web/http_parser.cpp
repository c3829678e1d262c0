#include <algorithm>
#include <charconv>

#include "base/utf8.h"
#include "minimind/base/error.h"
#include "web/http_message.h"

namespace minimind {

namespace {

constexpr size_t kLongestChunkLine = 1024;

bool is_token_character(char c) {
  constexpr std::string_view kOthers = "!#$%&'*+-.^_`|~";
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         kOthers.find(c) != std::string_view::npos;
}

bool is_token(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), is_token_character);
}

std::string_view without_blanks_around(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t");
  return first == std::string_view::npos ? "" : text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

/// A whole number in digits alone; false on anything else, on one beyond size_t too.
bool read_number(std::string_view text, int base, size_t& value) {
  if (text.empty() || text.front() == '-' || text.front() == '+') {
    return false;
  }
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

const std::string* HttpRequest::header(std::string_view name) const {
  const auto found = std::find_if(headers.begin(), headers.end(), [&](const auto& one) { return one.first == name; });
  return found == headers.end() ? nullptr : &found->second;
}

std::string_view http_reason(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 413:
      return "Content Too Large";
    case 415:
      return "Unsupported Media Type";
    case 417:
      return "Expectation Failed";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return status < 500 ? "Error" : "Internal Server Error";
  }
}

size_t HttpParser::expected_body_size() const {
  return request_.body.size() + (state_ == State::kBody && part_ == Part::kLength ? left_ : 0);
}

bool HttpParser::take_wants_continue() {
  return std::exchange(wants_continue_, false);
}

HttpRequest HttpParser::take() {
  HttpRequest request = std::move(request_);
  *this = HttpParser(limits_);
  return request;
}

void HttpParser::fail_with(int status, std::string code, std::string message) {
  state_ = State::kFailed;
  failure_ = {status, std::move(code), std::move(message)};
  request_.body = {};
}

size_t HttpParser::feed(std::string_view bytes) {
  size_t taken = 0;
  while (taken < bytes.size() && (state_ == State::kHead || state_ == State::kBody)) {
    const std::string_view rest = bytes.substr(taken);
    taken += state_ == State::kHead ? feed_head(rest) : feed_body(rest);
  }
  return taken;
}

size_t HttpParser::feed_head(std::string_view bytes) {
  if (head_.empty() && (bytes.front() == '\r' || bytes.front() == '\n')) {
    return 1;  // empty lines before a request, which old clients send behind a body
  }
  const size_t before = head_.size();
  head_ += bytes.substr(0, limits_.head_bytes - before + 1);
  const size_t end = head_.find("\r\n\r\n", before < 3 ? 0 : before - 3);
  if (end == std::string::npos) {
    if (head_.size() > limits_.head_bytes) {
      fail_with(431, "headers_too_large",
                concat("headers: expected at most ", limits_.head_bytes, " bytes of request line and headers"));
    }
    return head_.size() - before;
  }
  head_.resize(end + 2);
  read_head();
  return end + 4 - before;
}

void HttpParser::read_head() {
  std::string_view rest = head_;
  const size_t end = rest.find("\r\n");
  read_request_line(rest.substr(0, end));
  rest.remove_prefix(end + 2);
  while (!rest.empty() && state_ != State::kFailed) {
    const size_t line_end = rest.find("\r\n");
    read_header(rest.substr(0, line_end));
    rest.remove_prefix(line_end + 2);
  }
  if (state_ != State::kFailed) {
    read_framing();
  }
}

void HttpParser::read_request_line(std::string_view line) {
  const size_t first = line.find(' ');
  const size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == last || !is_token(line.substr(0, first))) {
    return fail_with(400, "bad_request_line", "request line: expected METHOD PATH HTTP/1.1");
  }
  const std::string_view version = line.substr(last + 1);
  if (version != "HTTP/1.1" && version != "HTTP/1.0") {
    const bool other = version.starts_with("HTTP/") && version.size() == 8;
    return fail_with(other ? 505 : 400, other ? "http_version" : "bad_request_line",
                     "request line: expected HTTP/1.1 or HTTP/1.0");
  }
  const std::string_view target = line.substr(first + 1, last - first - 1);
  const bool plain = std::all_of(target.begin(), target.end(), [](char c) { return c > ' ' && c < 0x7F; });
  if (!target.starts_with('/') || !plain) {
    return fail_with(400, "bad_request_line", "request line: expected a path that begins with / and has no blanks");
  }
  const size_t question = target.find('?');
  request_.method = line.substr(0, first);
  request_.path = target.substr(0, question);
  request_.query = question == std::string_view::npos ? "" : target.substr(question + 1);
  request_.http_1_0 = version == "HTTP/1.0";
}

void HttpParser::read_header(std::string_view line) {
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos || !is_token(line.substr(0, colon))) {
    return fail_with(400, "bad_header", "headers: expected lines of the form Name: value");
  }
  const std::string_view value = without_blanks_around(line.substr(colon + 1));
  const bool plain = std::all_of(value.begin(), value.end(), [](char c) {
    return (static_cast<unsigned char>(c) >= ' ' && c != 0x7F) || c == '\t';
  });
  if (!plain) {
    return fail_with(400, "bad_header", "headers: expected values without control characters");
  }
  request_.headers.emplace_back(ascii_lower(line.substr(0, colon)), value);
}

void HttpParser::read_framing() {
  const std::string* length = nullptr;
  const std::string* coding = nullptr;
  std::string connection;
  for (const auto& [name, value] : request_.headers) {
    if (name == "content-length") {
      if (length != nullptr && *length != value) {
        return fail_with(400, "bad_content_length", "Content-Length: expected one value, found two");
      }
      length = &value;
    } else if (name == "transfer-encoding") {
      if (coding != nullptr) {
        return fail_with(400, "bad_transfer_encoding", "Transfer-Encoding: expected one header, found two");
      }
      coding = &value;
    } else if (name == "connection") {
      connection += ascii_lower(value) + ",";
    } else if (name == "expect") {
      if (ascii_lower(value) != "100-continue") {
        return fail_with(417, "bad_expectation", "Expect: expected 100-continue");
      }
      wants_continue_ = true;
    }
  }
  request_.keep_alive = request_.http_1_0 ? connection.find("keep-alive") != std::string::npos
                                          : connection.find("close") == std::string::npos;
  if (coding != nullptr) {
    if (length != nullptr || request_.http_1_0) {
      return fail_with(400, "bad_transfer_encoding",
                       "Transfer-Encoding: expected no Content-Length beside it, and HTTP/1.1");
    }
    if (ascii_lower(*coding) != "chunked") {
      return fail_with(501, "bad_transfer_encoding", "Transfer-Encoding: expected chunked");
    }
    state_ = State::kBody;
    part_ = Part::kChunkLine;
    return;
  }
  if (length != nullptr && !read_number(*length, 10, left_)) {
    return fail_with(400, "bad_content_length", "Content-Length: expected a whole number of bytes");
  }
  if (left_ > limits_.body_bytes) {
    return fail_with(413, "body_too_large",
                     concat("body: expected at most ", limits_.body_bytes, " bytes, found ", left_));
  }
  wants_continue_ = wants_continue_ && left_ > 0;
  state_ = left_ > 0 ? State::kBody : State::kDone;
}

size_t HttpParser::feed_body(std::string_view bytes) {
  if (part_ != Part::kLength && part_ != Part::kChunkData) {
    return feed_line(bytes);
  }
  const size_t count = std::min(left_, bytes.size());
  request_.body += bytes.substr(0, count);
  left_ -= count;
  if (left_ == 0) {
    if (part_ == Part::kLength) {
      state_ = State::kDone;
    } else {
      part_ = Part::kChunkEnd;
    }
  }
  return count;
}

/// The lines between and behind the chunks.
size_t HttpParser::feed_line(std::string_view bytes) {
  const size_t newline = bytes.find('\n');
  const size_t count = newline == std::string_view::npos ? bytes.size() : newline + 1;
  line_ += bytes.substr(0, count);
  trailer_bytes_ += part_ == Part::kTrailer ? count : 0;
  if (line_.size() > kLongestChunkLine || trailer_bytes_ > limits_.head_bytes) {
    fail_with(400, "bad_chunk", "chunked body: expected shorter lines");
    return count;
  }
  if (newline == std::string_view::npos) {
    return count;
  }
  if (!line_.ends_with("\r\n")) {
    fail_with(400, "bad_chunk", "chunked body: expected lines that end with CRLF");
    return count;
  }
  line_.resize(line_.size() - 2);
  if (part_ == Part::kChunkLine) {
    read_chunk_line();
  } else if (part_ == Part::kChunkEnd) {
    if (!line_.empty()) {
      fail_with(400, "bad_chunk", "chunked body: expected the end of a chunk, found more of it");
    }
    part_ = Part::kChunkLine;
  } else if (line_.empty()) {
    state_ = State::kDone;
  }
  line_.clear();
  return count;
}

void HttpParser::read_chunk_line() {
  const std::string_view size = without_blanks_around(std::string_view(line_).substr(0, line_.find(';')));
  if (!read_number(size, 16, left_)) {
    return fail_with(400, "bad_chunk", "chunked body: expected a chunk's size in hexadecimal digits");
  }
  if (left_ > limits_.body_bytes - request_.body.size()) {
    return fail_with(413, "body_too_large",
                     concat("body: expected at most ", limits_.body_bytes, " bytes, found more"));
  }
  part_ = left_ == 0 ? Part::kTrailer : Part::kChunkData;
}

}  // namespace minimind
