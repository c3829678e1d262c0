#include "web/sockets.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "minimind/base/error.h"

namespace minimind::detail {

namespace {

constexpr int kBacklog = 512;

/// Fills in where the socket listens.
void read_address(Listener& listener) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  getsockname(listener.descriptor, reinterpret_cast<sockaddr*>(&address), &size);
  char text[INET6_ADDRSTRLEN] = {};
  if (address.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
    inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
    listener.address = concat("[", text, "]");
    listener.port = ntohs(v6.sin6_port);
    listener.is_loopback = IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr);
    listener.is_any = IN6_IS_ADDR_UNSPECIFIED(&v6.sin6_addr);
  } else {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
    listener.address = text;
    listener.port = ntohs(v4.sin_port);
    listener.is_loopback = (ntohl(v4.sin_addr.s_addr) >> 24) == 127;
    listener.is_any = v4.sin_addr.s_addr == htonl(INADDR_ANY);
  }
}

}  // namespace

Listener listen_on(const std::string& host, int64_t port) {
  require(port >= 0 && port <= 65535, "--port: expected 0 to 65535, found ", port);
  addrinfo wanted{};
  wanted.ai_socktype = SOCK_STREAM;
  wanted.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* list = nullptr;
  const int problem = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &wanted, &list);
  require(problem == 0, "--host ", host, ": expected an address of this machine, found: ", gai_strerror(problem));
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(list, freeaddrinfo);
  int reason = 0;
  for (const addrinfo* one = list; one != nullptr; one = one->ai_next) {
    const int descriptor = ::socket(one->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (descriptor < 0) {
      reason = errno;
      continue;
    }
    const int on = 1;
    setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (::bind(descriptor, one->ai_addr, one->ai_addrlen) == 0 && ::listen(descriptor, kBacklog) == 0) {
      Listener listener;
      listener.descriptor = descriptor;
      read_address(listener);
      return listener;
    }
    reason = errno;
    ::close(descriptor);
  }
  if (reason == EADDRINUSE) {
    fail("--port ", port, ": expected a free port on ", host,
         ", found it in use by another program; choose another one (0: any free one)");
  }
  fail("--host ", host, " --port ", port, ": expected an address to listen on, found: ", std::strerror(reason));
}

}  // namespace minimind::detail
