#include "web/http_connection.h"

#include <poll.h>

#include <boost/asio/post.hpp>
#include <exception>
#include <ios>
#include <new>
#include <stdexcept>
#include <utility>

#include "minimind/base/log.h"
#include "web/http_text.h"

namespace minimind {

namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using State = HttpReader::State;
using Clock = std::chrono::steady_clock;

constexpr auto kHeadTime = std::chrono::seconds(10);    // from a request's first byte to the end of its headers
constexpr auto kBodyTime = std::chrono::seconds(60);    // from a request's first byte to the end of its body
constexpr auto kIdleTime = std::chrono::seconds(60);    // without a request
constexpr auto kStallTime = std::chrono::seconds(30);   // without a byte of the answer that the client takes
constexpr auto kLingerTime = std::chrono::seconds(10);  // from the end of the last answer to the client's own end
constexpr size_t kHeadBytes = size_t{16} << 10;         // limit of request line and headers
constexpr auto kNever = Clock::time_point::max();

/// The answer to one request. The thread that writes it never waits for the client.
class ConnectionReply : public Reply {
 public:
  using Next = HttpConnection::Next;

  ConnectionReply(std::shared_ptr<HttpConnection> connection, const HttpRequest& request, bool keep_alive)
      : connection_(std::move(connection)),
        keep_alive_(keep_alive),
        chunked_(!request.http_1_0),
        head_only_(request.method == "HEAD") {}

  ~ConnectionReply() override {
    if (!begun_) {
      keep_alive_ = false;
      send({500, "text/plain", "", {}});
    } else if (!finished_) {
      post("", Next::kAbort);
    }
  }

  void send(const HttpResponse& response) override {
    begin_once();
    post(whole_text(response, keep_alive_, head_only_), keep_alive_ ? Next::kRequest : Next::kClose);
  }

  void begin(const HttpResponse& head) override {
    begin_once();
    keep_alive_ = keep_alive_ && chunked_;
    post(head_text(head, chunked_ ? "Transfer-Encoding: chunked\r\n" : "", keep_alive_), Next::kMore);
    write(head.body);
  }

  void write(std::string_view piece) override {
    if (!piece.empty() && !head_only_ && !gone()) {
      post(chunked_ ? concat(std::hex, piece.size(), "\r\n", piece, "\r\n") : std::string(piece), Next::kMore);
    }
  }

  void finish() override {
    if (!finished_) {
      post(chunked_ && !head_only_ ? "0\r\n\r\n" : "", keep_alive_ ? Next::kRequest : Next::kClose);
    }
  }

  bool gone() const override { return connection_->is_gone(); }

 private:
  void begin_once() {
    if (std::exchange(begun_, true)) {
      throw std::logic_error("Reply: a second answer to one request");
    }
  }

  void post(std::string bytes, Next next) {
    finished_ = next != Next::kMore;
    connection_->post(std::move(bytes), next);
  }

  std::shared_ptr<HttpConnection> connection_;
  bool keep_alive_;
  bool chunked_;
  bool head_only_;
  bool begun_ = false;
  bool finished_ = false;
};

}  // namespace

HttpConnection::HttpConnection(HttpShared& server, tcp::socket socket)
    : server_(server),
      socket_(std::move(socket)),
      reader_(kHeadBytes, server.body_bytes),
      deadline_(Clock::now() + kIdleTime) {
  error_code ignored;
  socket_.non_blocking(true, ignored);
  socket_.set_option(tcp::no_delay(true), ignored);
}

void HttpConnection::wait_for_bytes() {
  if (is_waiting_ || gone_) {
    return;
  }
  is_waiting_ = true;
  socket_.async_wait(tcp::socket::wait_read, [self = shared_from_this()](const error_code& error) {
    self->is_waiting_ = false;
    if (error) {
      self->close();
    } else if (!self->gone_) {
      self->receive();
    }
  });
}

/// Whether the client has closed the connection or its sending half.
bool HttpConnection::has_hung_up() {
  pollfd asked{socket_.native_handle(), POLLRDHUP, 0};
  return ::poll(&asked, 1, 0) > 0;
}

void HttpConnection::receive() {
  if (phase_ == Phase::kAnswering) {
    // Bytes of the next request wait in the socket until the answer is sent; check() watches the client meanwhile.
    if (has_hung_up()) {
      close();
    }
    return;
  }
  if (phase_ == Phase::kClosing && is_writing_) {
    return;  // a client that has closed its sending half still gets its answer
  }
  error_code error;
  const size_t count = socket_.read_some(asio::buffer(server_.received), error);
  if (error && error != asio::error::would_block) {
    close();
    return;
  }
  if (phase_ == Phase::kReading && count > 0) {
    read({server_.received.data(), count});
  }
  wait_for_bytes();
}

void HttpConnection::read(std::string_view bytes) {
  const State before = reader_.state();
  if (before == State::kNothing) {
    deadline_ = Clock::now() + kHeadTime;
  }
  try {
    const State state = reader_.read(bytes);
    if (before < State::kBody && state == State::kBody) {
      deadline_ += kBodyTime - kHeadTime;
    }
    count_body();
    if (state == State::kWhole) {
      answer();
    } else if (state == State::kBody && reader_.take_wants_continue()) {
      send("HTTP/1.1 100 Continue\r\n\r\n", Next::kMore);
    }
  } catch (const ApiError& error) {
    refuse(error);
  } catch (const std::bad_alloc&) {
    refuse(out_of_memory());
  }
}

/// Counts the body's memory among the memory of all bodies.
void HttpConnection::count_body() {
  const size_t size = reader_.body_bytes();
  if (size == 0) {
    return;
  }
  if (held_ == nullptr) {
    held_ = {new size_t(0), [&total = server_.held_bytes](const size_t* held) {
               total -= *held;
               delete held;
             }};
  }
  const size_t more = size - std::exchange(*held_, size);
  if ((server_.held_bytes += more) > server_.held_limit) {
    throw ApiError(503, "the server holds too many large requests; try again later", "", "too_much_data");
  }
}

void HttpConnection::answer() {
  HttpRequest request = reader_.take();
  request.held_body = std::exchange(held_, nullptr);
  phase_ = Phase::kAnswering;
  deadline_ = kNever;
  const bool keep_alive = request.keep_alive && !server_.is_ending;
  auto reply = std::make_shared<ConnectionReply>(shared_from_this(), request, keep_alive);
  try {
    server_.handler(std::move(request), std::move(reply));
  } catch (const std::exception& error) {
    // The reply was destroyed with the exception and answers with status 500.
    log_warning(concat("a request failed: ", error.what()));
  }
}

void HttpConnection::refuse(const ApiError& error) {
  phase_ = Phase::kClosing;
  deadline_ = kNever;
  reader_.clear();
  held_.reset();
  send(whole_text(server_.refusal(error), /*keep_alive=*/false), Next::kClose);
}

void HttpConnection::post(std::string bytes, Next next) {
  asio::post(server_.io, [self = shared_from_this(), bytes = std::move(bytes), next] { self->send(bytes, next); });
}

void HttpConnection::send(std::string_view bytes, Next next) {
  if (!gone_) {
    next_ = next;
    out_ += bytes;
    write();
  }
}

void HttpConnection::write() {
  if (is_writing_ || gone_) {
    return;
  }
  error_code error;
  while (sent_ < out_.size() && !error) {
    sent_ += socket_.write_some(asio::buffer(out_) + sent_, error);
  }
  if (!error) {
    out_.clear();
    sent_ = 0;
    end_answer();
  } else if (error == asio::error::would_block) {
    is_writing_ = true;
    write_deadline_ = Clock::now() + kStallTime;
    socket_.async_wait(tcp::socket::wait_write, [self = shared_from_this()](const error_code&) {
      self->is_writing_ = false;
      self->write();
    });
  } else {
    close();
  }
}

/// Goes on as `next_` says, after all bytes are sent.
void HttpConnection::end_answer() {
  const Next next = std::exchange(next_, Next::kMore);
  if (next == Next::kAbort) {
    close();
  } else if (next == Next::kClose || (next == Next::kRequest && server_.is_ending)) {
    error_code ignored;
    socket_.shutdown(tcp::socket::shutdown_send, ignored);
    phase_ = Phase::kClosing;
    deadline_ = Clock::now() + kLingerTime;
    wait_for_bytes();
  } else if (next == Next::kRequest) {
    phase_ = Phase::kReading;
    deadline_ = Clock::now() + kIdleTime;
    if (reader_.state() != State::kNothing) {
      deadline_ = Clock::now() + kHeadTime;
      read("");
    }
    wait_for_bytes();
  }
}

void HttpConnection::check() {
  const Clock::time_point now = Clock::now();
  if ((is_writing_ && now > write_deadline_) || (phase_ == Phase::kAnswering && !is_waiting_ && has_hung_up())) {
    close();
  } else if (now > deadline_ && phase_ == Phase::kReading && reader_.state() != State::kNothing) {
    refuse(ApiError(408, "the request did not arrive in time", "", "request_timeout"));
  } else if (now > deadline_) {
    close();
  }
}

void HttpConnection::close() {
  error_code ignored;
  socket_.close(ignored);
  gone_ = true;
  held_.reset();
}

}  // namespace minimind
