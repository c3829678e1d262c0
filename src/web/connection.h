#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "web/http_server.h"
#include "web/mailbox.h"

namespace minimind {

namespace detail {

/// A share in the bytes of bodies that the server holds; gives it back when it dies.
class HeldBytes {
 public:
  explicit HeldBytes(std::shared_ptr<std::atomic<int64_t>> total) : total_(std::move(total)) {}
  ~HeldBytes() { set(0); }
  HeldBytes(const HeldBytes&) = delete;
  HeldBytes& operator=(const HeldBytes&) = delete;

  /// Returns the total of all.
  int64_t set(int64_t bytes) {
    const int64_t change = bytes - bytes_;
    bytes_ = bytes;
    return total_->fetch_add(change) + change;
  }

 private:
  std::shared_ptr<std::atomic<int64_t>> total_;
  int64_t bytes_ = 0;
};

}  // namespace detail

/// One client: reads a request, waits for its answer, sends it, begins anew.
struct HttpServer::Connection {
  enum class Phase {
    kReading,
    kAnswering,
    kLingering,  ///< all is sent; what still comes is thrown away, so that the client can read the answer before it
                 ///< hears of the end
  };

  Connection(uint64_t number, int socket, const HttpParserLimits& limits)
      : id(number), descriptor(socket), parser(limits) {}
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  bool has_unsent() const { return sent < out.size(); }
  void queue_bytes(std::string_view bytes) {
    if (!has_unsent()) {
      moved = Clock::now();
    }
    out += bytes;
  }

  uint64_t id;
  int descriptor;
  Phase phase = Phase::kReading;
  HttpParser parser;
  std::string unread;  ///< bytes of the next request
  std::shared_ptr<detail::HeldBytes> held;
  std::shared_ptr<Mailbox> mailbox;  ///< of the request that is being answered; null for a failure
  std::string out;
  size_t sent = 0;
  uint32_t interest = 0;
  Clock::time_point since = Clock::now();  ///< begin of the phase, or of the request
  Clock::time_point moved = Clock::now();  ///< when the client last took something
};

}  // namespace minimind
