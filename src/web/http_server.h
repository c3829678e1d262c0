#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "web/http_message.h"

namespace minimind {

/// Where the answer to a request goes: once whole (send), or in pieces (begin, write…, finish). From any thread, never
/// blocking: what a slow client has not taken yet waits in memory. One that dies unfinished ends the connection, with
/// status 500 where nothing was sent yet.
class Reply {
 public:
  virtual ~Reply() = default;
  virtual void send(const HttpResponse& response) = 0;
  /// Status and headers of an answer whose body follows in pieces; `head.body` is the first of them.
  virtual void begin(const HttpResponse& head) = 0;
  virtual void write(std::string_view piece) = 0;
  virtual void finish() = 0;
  /// The client went away, or takes nothing any more: the answer is not worth going on with.
  virtual bool gone() const = 0;
};

struct HttpServerOptions {
  std::string host = "127.0.0.1";
  int64_t port = 8080;  ///< 0: any free one
  HttpParserLimits limits;
  int64_t connections = 512;
  size_t held_bytes = size_t{256} << 20;  ///< of all bodies that are read or wait for their answer
  double head_seconds = 10;               ///< from a request's first byte to the end of its headers
  double body_seconds = 60;               ///< … to the end of its body
  double idle_seconds = 60;               ///< without any request
  double stall_seconds = 30;              ///< that a client may leave an answer lying
};

/// HTTP/1.1 over one thread and epoll: a connection costs a few kilobytes, a slow client costs nobody else anything,
/// and a client that vanishes is noticed at once, while its answer is still being computed. (A client that only closes
/// its sending half counts as vanished.)
class HttpServer {
 public:
  /// Called on the server's thread for each whole request; must not block.
  using Handler = std::function<void(HttpRequest, std::shared_ptr<Reply>)>;
  /// The form of answers to what is no proper request.
  using FailureForm = std::function<HttpResponse(const HttpFailure&)>;

  /// Binds and listens. Throws Error if the address cannot be had, a port in use included.
  HttpServer(const HttpServerOptions& options, Handler handler, FailureForm failure_form);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  int64_t port() const { return port_; }
  /// `http://127.0.0.1:8080`, with an address that a browser on this machine can open.
  std::string url() const;
  /// Whether only this machine can reach it.
  bool is_loopback() const { return is_loopback_; }

  /// Serves until `go_on`, asked ten times a second, says false; then gives the answers that are finished five seconds
  /// to leave.
  void run(const std::function<bool()>& go_on);
  /// Makes run() ask `go_on` now. Allowed in a signal handler.
  void wake() const;
  int64_t connections() const { return connection_count_; }

 private:
  struct Connection;
  struct Mailbox;
  struct Wakeups;
  class MailboxReply;
  using Clock = std::chrono::steady_clock;
  using Connections = std::unordered_map<uint64_t, std::unique_ptr<Connection>>;

  void listen_on(const HttpServerOptions& options);
  void wait_for_events(int milliseconds);
  void accept_clients();
  void refuse_client(int descriptor);
  void on_event(uint64_t id, uint32_t events);
  void read_from(Connection& connection);
  void feed(Connection& connection);
  void hand_over(Connection& connection);
  void answer_failure(Connection& connection, const HttpFailure& failure);
  bool holds_too_much(Connection& connection);
  void take_mail();
  void send_what_waits(Connection& connection);
  void end_of_answer(Connection& connection);
  void look_at_clocks();
  void set_interest(Connection& connection);
  void drop(uint64_t id);
  bool has_answers_to_send() const;

  HttpServerOptions options_;
  Handler handler_;
  FailureForm failure_form_;
  int listener_ = -1;
  int poll_ = -1;
  int64_t port_ = 0;
  bool is_loopback_ = true;
  bool accepting_ = true;
  std::string address_;
  std::shared_ptr<Wakeups> wakeups_;
  std::shared_ptr<std::atomic<int64_t>> held_bytes_;
  std::atomic<int64_t> connection_count_ = 0;
  uint64_t next_id_ = 2;
  Clock::time_point looked_;
  Connections connections_;
};

}  // namespace minimind
