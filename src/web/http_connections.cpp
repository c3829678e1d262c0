#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <exception>
#include <vector>

#include "minimind/base/error.h"
#include "minimind/base/log.h"
#include "web/connection.h"

namespace minimind {

namespace {

constexpr size_t kReadAtOnce = size_t{64} << 10;
constexpr double kLingerSeconds = 10;
constexpr auto kTick = std::chrono::milliseconds(100);

double seconds_between(std::chrono::steady_clock::time_point from, std::chrono::steady_clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

}  // namespace

HttpServer::Connection::~Connection() {
  if (mailbox != nullptr) {
    mailbox->gone = true;
  }
  ::close(descriptor);
}

void HttpServer::read_from(Connection& connection) {
  if (connection.phase == Connection::Phase::kAnswering) {
    return;
  }
  static thread_local std::vector<char> buffer(kReadAtOnce);
  const ssize_t count = ::recv(connection.descriptor, buffer.data(), buffer.size(), 0);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) {
    return;
  }
  if (count <= 0) {
    drop(connection.id);
    return;
  }
  if (connection.phase == Connection::Phase::kReading) {
    if (!connection.parser.begun()) {
      connection.since = Clock::now();
    }
    connection.unread.append(buffer.data(), static_cast<size_t>(count));
    feed(connection);
  }
}

void HttpServer::feed(Connection& connection) {
  const size_t taken = connection.parser.feed(connection.unread);
  connection.unread.erase(0, taken);
  const HttpParser::State state = connection.parser.state();
  if (state == HttpParser::State::kFailed) {
    answer_failure(connection, connection.parser.failure());
    return;
  }
  if (holds_too_much(connection)) {
    answer_failure(connection, {503, "too_much_data", "the server holds too many large requests; come again"});
    return;
  }
  if (connection.parser.take_wants_continue() && state != HttpParser::State::kDone) {
    connection.queue_bytes("HTTP/1.1 100 Continue\r\n\r\n");
  }
  if (state == HttpParser::State::kDone) {
    // What the handler answers at once comes by mail too: pipelined requests must not nest.
    hand_over(connection);
    set_interest(connection);
  } else {
    send_what_waits(connection);
  }
}

bool HttpServer::holds_too_much(Connection& connection) {
  if (connection.parser.body_size() == 0) {
    return false;
  }
  if (connection.held == nullptr) {
    connection.held = std::make_shared<detail::HeldBytes>(held_bytes_);
  }
  return connection.held->set(static_cast<int64_t>(connection.parser.body_size())) >
         static_cast<int64_t>(options_.held_bytes);
}

void HttpServer::hand_over(Connection& connection) {
  HttpRequest request = connection.parser.take();
  request.held_body = std::exchange(connection.held, nullptr);
  connection.phase = Connection::Phase::kAnswering;
  connection.mailbox = std::make_shared<Mailbox>();
  connection.mailbox->connection = connection.id;
  connection.mailbox->head_only = request.method == "HEAD";
  connection.mailbox->http_1_0 = request.http_1_0;
  connection.mailbox->keep_alive = request.keep_alive && accepting_;
  try {
    handler_(std::move(request), std::make_shared<MailboxReply>(connection.mailbox, wakeups_));
  } catch (const std::exception& error) {
    // The reply has died with the exception and answers with status 500.
    log_warning(concat("a request failed: ", error.what()));
  }
}

void HttpServer::answer_failure(Connection& connection, const HttpFailure& failure) {
  const HttpResponse response = failure_form_(failure);
  connection.parser = HttpParser(options_.limits);
  connection.held.reset();
  connection.unread.clear();
  connection.mailbox.reset();
  connection.phase = Connection::Phase::kAnswering;
  connection.queue_bytes(
      detail::http_head(response, std::ssize(response.body), /*chunked=*/false, /*keep_alive=*/false));
  connection.queue_bytes(response.body);
  send_what_waits(connection);
}

void HttpServer::take_mail() {
  for (const uint64_t id : wakeups_->take()) {
    const auto found = connections_.find(id);
    if (found != connections_.end() && found->second->phase == Connection::Phase::kAnswering) {
      send_what_waits(*found->second);
    }
  }
}

void HttpServer::send_what_waits(Connection& connection) {
  bool finished = connection.phase == Connection::Phase::kAnswering && connection.mailbox == nullptr;
  bool broken = false;
  if (connection.mailbox != nullptr) {
    const std::lock_guard lock(connection.mailbox->mutex);
    if (!connection.mailbox->bytes.empty()) {
      connection.queue_bytes(std::exchange(connection.mailbox->bytes, {}));
    }
    finished = connection.mailbox->finished;
    broken = connection.mailbox->broken;
  }
  while (connection.has_unsent()) {
    const ssize_t count = ::send(connection.descriptor, connection.out.data() + connection.sent,
                                 connection.out.size() - connection.sent, MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count < 0 && errno == EAGAIN) {
      break;
    }
    if (count <= 0) {
      drop(connection.id);
      return;
    }
    connection.sent += static_cast<size_t>(count);
    connection.moved = Clock::now();
  }
  if (connection.has_unsent()) {
    set_interest(connection);
    return;
  }
  connection.out.clear();
  connection.sent = 0;
  if (broken) {
    drop(connection.id);
  } else if (finished) {
    end_of_answer(connection);
  } else {
    set_interest(connection);
  }
}

void HttpServer::end_of_answer(Connection& connection) {
  const bool keep_alive = connection.mailbox != nullptr && connection.mailbox->keep_alive && accepting_;
  connection.mailbox.reset();
  connection.since = Clock::now();
  if (!keep_alive) {
    ::shutdown(connection.descriptor, SHUT_WR);
    connection.phase = Connection::Phase::kLingering;
    set_interest(connection);
    return;
  }
  connection.phase = Connection::Phase::kReading;
  set_interest(connection);
  if (!connection.unread.empty()) {
    feed(connection);
  }
}

void HttpServer::look_at_clocks() {
  const Clock::time_point now = Clock::now();
  if (now - looked_ < kTick) {
    return;
  }
  looked_ = now;
  std::vector<uint64_t> dead;
  std::vector<uint64_t> late;
  for (const auto& [id, connection] : connections_) {
    const double age = seconds_between(connection->since, now);
    const bool reading = connection->phase == Connection::Phase::kReading;
    const bool stalls = connection->has_unsent() && seconds_between(connection->moved, now) > options_.stall_seconds;
    const bool lingers = connection->phase == Connection::Phase::kLingering && age > kLingerSeconds;
    if (stalls || lingers || (reading && !connection->parser.begun() && age > options_.idle_seconds)) {
      dead.push_back(id);
    } else if (reading && connection->parser.begun()) {
      const bool in_head = connection->parser.state() == HttpParser::State::kHead;
      if (age > (in_head ? options_.head_seconds : options_.body_seconds)) {
        late.push_back(id);
      }
    }
  }
  for (const uint64_t id : dead) {
    drop(id);
  }
  for (const uint64_t id : late) {
    answer_failure(*connections_.at(id), {408, "request_timeout", "the request did not come whole in time"});
  }
  if (accepting_) {
    epoll_event event{};
    event.events = EPOLLIN;
    epoll_ctl(poll_, EPOLL_CTL_MOD, listener_, &event);
  }
}

}  // namespace minimind
