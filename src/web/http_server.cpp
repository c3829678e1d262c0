#include "web/http_server.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <stdexcept>
#include <vector>

#include "minimind/base/error.h"
#include "minimind/base/log.h"
#include "web/connection.h"
#include "web/sockets.h"

namespace minimind {

namespace {

constexpr uint64_t kListenerId = 0;
constexpr uint64_t kWakeupsId = 1;
constexpr int kTickMilliseconds = 100;
constexpr auto kFarewell = std::chrono::seconds(5);

void watch(int poll, int operation, int descriptor, uint64_t id, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = id;
  epoll_ctl(poll, operation, descriptor, &event);
}

}  // namespace

HttpServer::HttpServer(const HttpServerOptions& options, Handler handler, FailureForm failure_form)
    : options_(options),
      handler_(std::move(handler)),
      failure_form_(std::move(failure_form)),
      wakeups_(std::make_shared<Wakeups>()),
      held_bytes_(std::make_shared<std::atomic<int64_t>>(0)) {
  const detail::Listener listener = detail::listen_on(options.host, options.port);
  listener_ = listener.descriptor;
  port_ = listener.port;
  is_loopback_ = listener.is_loopback;
  address_ = !listener.is_any ? listener.address : listener.address == "[::]" ? "[::1]" : "127.0.0.1";
  poll_ = epoll_create1(EPOLL_CLOEXEC);
  if (poll_ < 0) {
    ::close(listener_);
    fail("the system gives no epoll descriptor; are too many files open?");
  }
  watch(poll_, EPOLL_CTL_ADD, listener_, kListenerId, EPOLLIN);
  watch(poll_, EPOLL_CTL_ADD, wakeups_->descriptor, kWakeupsId, EPOLLIN);
}

HttpServer::~HttpServer() {
  connections_.clear();
  ::close(poll_);
  if (listener_ >= 0) {
    ::close(listener_);
  }
}

std::string HttpServer::url() const {
  return concat("http://", address_, ":", port_);
}

void HttpServer::wake() const {
  wakeups_->ring();
}

void HttpServer::run(const std::function<bool()>& go_on) {
  while (go_on()) {
    wait_for_events(kTickMilliseconds);
  }
  accepting_ = false;
  ::close(listener_);
  listener_ = -1;
  const Clock::time_point end = Clock::now() + kFarewell;
  while (has_answers_to_send() && Clock::now() < end) {
    wait_for_events(kTickMilliseconds);
  }
  connections_.clear();
  connection_count_ = 0;
}

bool HttpServer::has_answers_to_send() const {
  for (const auto& [id, connection] : connections_) {
    if (connection->phase != Connection::Phase::kAnswering) {
      continue;
    }
    if (connection->has_unsent() || connection->mailbox == nullptr) {
      return true;
    }
    const std::lock_guard lock(connection->mailbox->mutex);
    if (connection->mailbox->finished) {
      return true;
    }
  }
  return false;
}

void HttpServer::wait_for_events(int milliseconds) {
  epoll_event events[64];
  const int count = epoll_wait(poll_, events, 64, milliseconds);
  for (int i = 0; i < count; ++i) {
    if (events[i].data.u64 == kListenerId) {
      accept_clients();
    } else if (events[i].data.u64 != kWakeupsId) {
      on_event(events[i].data.u64, events[i].events);
    }
  }
  take_mail();
  look_at_clocks();
}

void HttpServer::accept_clients() {
  while (accepting_) {
    const int descriptor = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (descriptor < 0) {
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        // The client stays in the queue, which would wake us without end: look again at the next tick.
        watch(poll_, EPOLL_CTL_MOD, listener_, kListenerId, 0);
      }
      if (errno == ECONNABORTED || errno == EINTR) {
        continue;
      }
      return;
    }
    if (std::ssize(connections_) >= options_.connections) {
      refuse_client(descriptor);
      continue;
    }
    const uint64_t id = next_id_++;
    auto connection = std::make_unique<Connection>(id, descriptor, options_.limits);
    connection->interest = EPOLLIN;
    watch(poll_, EPOLL_CTL_ADD, descriptor, id, EPOLLIN);
    connections_.emplace(id, std::move(connection));
    connection_count_ = std::ssize(connections_);
  }
}

void HttpServer::refuse_client(int descriptor) {
  const HttpResponse response = failure_form_(
      {503, "too_many_connections", concat("the server holds its ", options_.connections, " connections; come again")});
  const std::string bytes =
      detail::http_head(response, std::ssize(response.body), /*chunked=*/false, /*keep_alive=*/false) + response.body;
  [[maybe_unused]] const ssize_t sent = ::send(descriptor, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  ::shutdown(descriptor, SHUT_WR);
  // Unread bytes at close would make the system throw the answer away.
  char bin[4096];
  while (::recv(descriptor, bin, sizeof bin, 0) > 0) {
  }
  ::close(descriptor);
}

void HttpServer::on_event(uint64_t id, uint32_t events) {
  const auto found = connections_.find(id);
  if (found == connections_.end()) {
    return;
  }
  Connection& connection = *found->second;
  const bool vanished = (events & (EPOLLHUP | EPOLLERR)) != 0 ||
                        (connection.phase == Connection::Phase::kAnswering && (events & EPOLLRDHUP) != 0);
  if (vanished) {
    drop(id);
    return;
  }
  if ((events & EPOLLIN) != 0) {
    read_from(connection);
  }
  if ((events & EPOLLOUT) != 0 && connections_.contains(id)) {
    send_what_waits(connection);
  }
}

void HttpServer::drop(uint64_t id) {
  connections_.erase(id);
  connection_count_ = std::ssize(connections_);
}

void HttpServer::set_interest(Connection& connection) {
  uint32_t wanted = connection.has_unsent() ? static_cast<uint32_t>(EPOLLOUT) : 0U;
  // While a request is answered nothing more is read, so that what a client piles up waits in its own memory.
  wanted |= connection.phase == Connection::Phase::kAnswering
                ? (connection.mailbox != nullptr ? static_cast<uint32_t>(EPOLLRDHUP) : 0U)
                : static_cast<uint32_t>(EPOLLIN);
  if (wanted != connection.interest) {
    connection.interest = wanted;
    watch(poll_, EPOLL_CTL_MOD, connection.descriptor, connection.id, wanted);
  }
}

}  // namespace minimind
