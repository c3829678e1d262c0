#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "web/http_server.h"

namespace minimind {

/// The ids of connections with news, and the event descriptor that wakes the server for them.
struct HttpServer::Wakeups {
  Wakeups();
  ~Wakeups();
  Wakeups(const Wakeups&) = delete;
  Wakeups& operator=(const Wakeups&) = delete;

  void add(uint64_t id);
  std::vector<uint64_t> take();
  void ring() const;

  int descriptor = -1;

 private:
  std::mutex mutex_;
  std::vector<uint64_t> ids_;
};

/// What lies between the threads that write an answer and the one that sends it.
struct HttpServer::Mailbox {
  uint64_t connection = 0;
  bool head_only = false;  ///< the request was HEAD
  bool http_1_0 = false;
  bool keep_alive = true;
  std::atomic<bool> gone = false;

  std::mutex mutex;
  std::string bytes;  ///< to be sent
  bool begun = false;
  bool chunked = false;
  bool finished = false;
  bool broken = false;  ///< the writer died unfinished: the connection must end
};

class HttpServer::MailboxReply : public Reply {
 public:
  MailboxReply(std::shared_ptr<Mailbox> mailbox, std::shared_ptr<Wakeups> wakeups);
  ~MailboxReply() override;
  void send(const HttpResponse& response) override;
  void begin(const HttpResponse& head) override;
  void write(std::string_view piece) override;
  void finish() override;
  bool gone() const override { return mailbox_->gone; }

 private:
  void append(std::string_view piece);

  std::shared_ptr<Mailbox> mailbox_;
  std::shared_ptr<Wakeups> wakeups_;
};

namespace detail {

/// Status line and headers. `length`: the body's, or -1 for one of unknown length.
std::string http_head(const HttpResponse& response, int64_t length, bool chunked, bool keep_alive);

}  // namespace detail

}  // namespace minimind
