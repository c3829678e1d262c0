#include <gtest/gtest.h>

#include "web/http_message.h"

namespace minimind {
namespace {

using State = HttpParser::State;

HttpParserLimits small_limits() {
  return {.head_bytes = 300, .body_bytes = 20};
}

/// Fed byte by byte, as the slowest client sends.
HttpParser parsed(const std::string& text, const HttpParserLimits& limits = small_limits()) {
  HttpParser parser(limits);
  for (const char c : text) {
    parser.feed(std::string_view(&c, 1));
  }
  return parser;
}

int status_of(const std::string& text) {
  const HttpParser parser = parsed(text);
  return parser.state() == State::kFailed ? parser.failure().status : 0;
}

TEST(HttpParser, ReadsARequestInOnePieceOrByteByByte) {
  const std::string text =
      "POST /v1/x?a=b HTTP/1.1\r\nHost: here\r\nContent-TYPE:  application/json \r\nContent-Length: 5\r\n\r\nhello";
  for (const bool whole : {true, false}) {
    HttpParser parser(small_limits());
    if (whole) {
      EXPECT_EQ(parser.feed(text + "GET"), text.size()) << "the next request's bytes are left";
    } else {
      parser = parsed(text);
    }
    ASSERT_EQ(parser.state(), State::kDone);
    const HttpRequest request = parser.take();
    EXPECT_EQ(request.method, "POST");
    EXPECT_EQ(request.path, "/v1/x");
    EXPECT_EQ(request.query, "a=b");
    EXPECT_EQ(request.body, "hello");
    EXPECT_TRUE(request.keep_alive);
    ASSERT_NE(request.header("content-type"), nullptr);
    EXPECT_EQ(*request.header("content-type"), "application/json");
    EXPECT_EQ(request.header("accept"), nullptr);
    EXPECT_EQ(parser.state(), State::kHead);
    EXPECT_FALSE(parser.begun());
  }
}

TEST(HttpParser, ReadsChunksWithExtensionsAndTrailers) {
  const std::string head = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
  HttpParser parser = parsed(head + "3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nX: y\r\n\r\n");
  ASSERT_EQ(parser.state(), State::kDone);
  EXPECT_EQ(parser.take().body, "abc0123456789");
}

TEST(HttpParser, KeepsTheConnectionAsTheVersionAndTheHeaderSay) {
  EXPECT_FALSE(parsed("GET / HTTP/1.0\r\n\r\n").take().keep_alive);
  EXPECT_TRUE(parsed("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").take().keep_alive);
  EXPECT_FALSE(parsed("GET / HTTP/1.1\r\nConnection: close\r\n\r\n").take().keep_alive);
  EXPECT_TRUE(parsed("\r\n\r\nGET / HTTP/1.1\r\n\r\n").take().keep_alive) << "empty lines before a request";
}

TEST(HttpParser, TellsOnceThatTheClientWaitsForItsConsent) {
  HttpParser parser = parsed("POST / HTTP/1.1\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_TRUE(parser.take_wants_continue());
  EXPECT_FALSE(parser.take_wants_continue());
  EXPECT_EQ(status_of("POST / HTTP/1.1\r\nExpect: miracles\r\n\r\n"), 417);
}

TEST(HttpParser, RefusesWhatIsNoRequest) {
  for (const char* line : {"hello\r\n\r\n", "GET /\r\n\r\n", "GET x HTTP/1.1\r\n\r\n", "GET / HTTQ/1.1\r\n\r\n",
                           "G(T / HTTP/1.1\r\n\r\n", "GET /a b HTTP/1.1\r\n\r\n", " / HTTP/1.1\r\n\r\n",
                           "GET /\x01 HTTP/1.1\r\n\r\n", "\x16\x03\x01\x02 tls hello\r\n\r\n"}) {
    EXPECT_EQ(status_of(line), 400) << line;
  }
  EXPECT_EQ(status_of("GET / HTTP/2.0\r\n\r\n"), 505);
}

TEST(HttpParser, RefusesHeadersThatMayBeReadInTwoWays) {
  const std::string get = "GET / HTTP/1.1\r\n";
  for (const char* headers :
       {"no colon\r\n\r\n", "Name : value\r\n\r\n", " folded: line\r\n\r\n", "A: b\x01\r\n\r\n",
        "Content-Length: 3\r\nContent-Length: 4\r\n\r\n", "Content-Length: -1\r\n\r\n", "Content-Length: +1\r\n\r\n",
        "Content-Length: 1x\r\n\r\n", "Content-Length: 99999999999999999999999\r\n\r\n",
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"}) {
    EXPECT_EQ(status_of(get + headers), 400) << headers;
  }
  EXPECT_EQ(status_of(get + "Transfer-Encoding: gzip, chunked\r\n\r\n"), 501);
}

TEST(HttpParser, RefusesBodiesAndHeadsBeyondTheirLimit) {
  EXPECT_EQ(status_of("POST / HTTP/1.1\r\nContent-Length: 21\r\n\r\n"), 413) << "before a byte of it has come";
  const std::string chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
  EXPECT_EQ(status_of(chunked + "15\r\n"), 413);
  EXPECT_EQ(status_of(chunked + "A\r\n0123456789\r\nB\r\n"), 413);
  EXPECT_EQ(status_of(chunked + "FFFFFFFFFFFFFFFF\r\n"), 413);
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\nX: " + std::string(300, 'x')), 431);
  EXPECT_EQ(status_of(std::string(301, 'x')), 431);
}

TEST(HttpParser, RefusesBrokenChunks) {
  const std::string chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (const char* chunk : {"\r\n", "x\r\n", "-1\r\n", "3\r\nabcd\r\n", "3\nabc\r\n", "10000000000000000\r\n"}) {
    EXPECT_EQ(status_of(chunked + chunk), 400) << chunk;
  }
  EXPECT_EQ(status_of(chunked + "0\r\n" + std::string(2000, 'x')), 400) << "an endless trailer";
}

}  // namespace
}  // namespace minimind
