#pragma once

#include <array>
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "web/api_error.h"
#include "web/http_message.h"
#include "web/http_reader.h"

namespace minimind {

class HttpConnection;

/// What a server and its connections share.
struct HttpShared {
  size_t body_bytes = size_t{24} << 20;   ///< limit of one body
  size_t held_limit = size_t{192} << 20;  ///< of held_bytes
  HttpHandler handler;
  HttpRefusal refusal;
  std::atomic<size_t> held_bytes = 0;  ///< bytes of all bodies that are read or wait for their answer
  std::array<char, size_t{64} << 10> received{};
  boost::asio::io_context io{1};
  boost::asio::ip::tcp::acceptor acceptor{io};
  bool is_accepting = false;  ///< an asynchronous accept is outstanding
  bool is_ending = false;
  std::vector<std::shared_ptr<HttpConnection>> connections;
};

/// One client: reads a request, sends its answer, reads the next request. All functions but is_gone() and post()
/// belong to the server's thread.
class HttpConnection : public std::enable_shared_from_this<HttpConnection> {
 public:
  /// What follows the bytes of an answer.
  enum class Next { kMore, kRequest, kClose, kAbort };

  HttpConnection(HttpShared& server, boost::asio::ip::tcp::socket socket);

  void wait_for_bytes();
  /// Answers what is no request and ends the connection.
  void refuse(const ApiError& error);
  /// Sends bytes of an answer, from any thread and without waiting.
  void post(std::string bytes, Next next);
  /// Closes the connection if a time limit is over or the client has gone.
  void check();
  void close();
  bool is_gone() const { return gone_; }
  bool has_bytes_to_send() const { return is_writing_ || next_ != Next::kMore; }

 private:
  enum class Phase {
    kReading,
    kAnswering,
    kClosing,  ///< drops what the client still sends, so that the answer reaches it before the end does
  };

  bool has_hung_up();
  void receive();
  void read(std::string_view bytes);
  void count_body();
  void answer();
  void send(std::string_view bytes, Next next);
  void write();
  void end_answer();

  HttpShared& server_;
  boost::asio::ip::tcp::socket socket_;
  HttpReader reader_;
  std::shared_ptr<size_t> held_;  ///< this body's share in HttpShared::held_bytes, which its deleter gives back
  Phase phase_ = Phase::kReading;
  std::chrono::steady_clock::time_point deadline_;  ///< of the phase
  std::atomic<bool> gone_ = false;
  bool is_waiting_ = false;  ///< an asynchronous wait for bytes is outstanding
  bool is_writing_ = false;  ///< an asynchronous wait for room to write is outstanding
  std::chrono::steady_clock::time_point write_deadline_;
  std::string out_;
  size_t sent_ = 0;
  Next next_ = Next::kMore;
};

}  // namespace minimind
