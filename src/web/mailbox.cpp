#include "web/mailbox.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdio>
#include <stdexcept>

#include "minimind/base/error.h"

namespace minimind {

HttpServer::Wakeups::Wakeups() : descriptor(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  require(descriptor >= 0, "the system gives no event descriptor; are too many files open?");
}

HttpServer::Wakeups::~Wakeups() {
  ::close(descriptor);
}

void HttpServer::Wakeups::add(uint64_t id) {
  bool first = false;
  {
    const std::lock_guard lock(mutex_);
    first = ids_.empty();
    // A stream of pieces rings once until the server has looked.
    if (ids_.empty() || ids_.back() != id) {
      ids_.push_back(id);
    }
  }
  if (first) {
    ring();
  }
}

std::vector<uint64_t> HttpServer::Wakeups::take() {
  uint64_t count = 0;
  [[maybe_unused]] const ssize_t read = ::read(descriptor, &count, sizeof count);
  const std::lock_guard lock(mutex_);
  return std::exchange(ids_, {});
}

void HttpServer::Wakeups::ring() const {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(descriptor, &one, sizeof one);
}

std::string detail::http_head(const HttpResponse& response, int64_t length, bool chunked, bool keep_alive) {
  std::string head = concat("HTTP/1.1 ", response.status, " ", http_reason(response.status), "\r\n");
  head += concat("Content-Type: ", response.content_type, "\r\n");
  if (chunked) {
    head += "Transfer-Encoding: chunked\r\n";
  } else if (length >= 0) {
    head += concat("Content-Length: ", length, "\r\n");
  }
  for (const auto& [name, value] : response.headers) {
    head += concat(name, ": ", value, "\r\n");
  }
  head += "X-Content-Type-Options: nosniff\r\n";
  head += keep_alive ? "Connection: keep-alive\r\n\r\n" : "Connection: close\r\n\r\n";
  return head;
}

HttpServer::MailboxReply::MailboxReply(std::shared_ptr<Mailbox> mailbox, std::shared_ptr<Wakeups> wakeups)
    : mailbox_(std::move(mailbox)), wakeups_(std::move(wakeups)) {}

HttpServer::MailboxReply::~MailboxReply() {
  {
    const std::lock_guard lock(mailbox_->mutex);
    if (mailbox_->finished) {
      return;
    }
    if (!mailbox_->begun) {
      mailbox_->bytes = detail::http_head({500, "text/plain", "", {}}, 0, false, false);
      mailbox_->keep_alive = false;
      mailbox_->finished = true;
    } else {
      mailbox_->broken = true;
    }
  }
  wakeups_->add(mailbox_->connection);
}

void HttpServer::MailboxReply::send(const HttpResponse& response) {
  {
    const std::lock_guard lock(mailbox_->mutex);
    if (mailbox_->begun) {
      throw std::logic_error("Reply: a second answer");
    }
    mailbox_->begun = true;
    mailbox_->finished = true;
    mailbox_->bytes = detail::http_head(response, std::ssize(response.body), false, mailbox_->keep_alive);
    if (!mailbox_->head_only) {
      mailbox_->bytes += response.body;
    }
  }
  wakeups_->add(mailbox_->connection);
}

void HttpServer::MailboxReply::begin(const HttpResponse& head) {
  {
    const std::lock_guard lock(mailbox_->mutex);
    if (mailbox_->begun) {
      throw std::logic_error("Reply: a second answer");
    }
    mailbox_->begun = true;
    mailbox_->chunked = !mailbox_->http_1_0;
    mailbox_->keep_alive = mailbox_->keep_alive && mailbox_->chunked;
    mailbox_->bytes = detail::http_head(head, -1, mailbox_->chunked, mailbox_->keep_alive);
    append(head.body);
  }
  wakeups_->add(mailbox_->connection);
}

void HttpServer::MailboxReply::append(std::string_view piece) {
  if (piece.empty() || mailbox_->head_only || mailbox_->gone) {
    return;
  }
  if (!mailbox_->chunked) {
    mailbox_->bytes += piece;
    return;
  }
  char size[24];
  std::snprintf(size, sizeof size, "%zx\r\n", piece.size());
  mailbox_->bytes.append(size).append(piece).append("\r\n");
}

void HttpServer::MailboxReply::write(std::string_view piece) {
  {
    const std::lock_guard lock(mailbox_->mutex);
    append(piece);
  }
  wakeups_->add(mailbox_->connection);
}

void HttpServer::MailboxReply::finish() {
  {
    const std::lock_guard lock(mailbox_->mutex);
    if (mailbox_->finished) {
      return;
    }
    mailbox_->finished = true;
    if (mailbox_->chunked && !mailbox_->head_only) {
      mailbox_->bytes += "0\r\n\r\n";
    }
  }
  wakeups_->add(mailbox_->connection);
}

}  // namespace minimind
