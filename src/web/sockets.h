#pragma once

#include <cstdint>
#include <string>

namespace minimind::detail {

struct Listener {
  int descriptor = -1;  ///< non-blocking
  int64_t port = 0;
  std::string address;  ///< as in a URL: `127.0.0.1`, `[::1]`
  bool is_loopback = false;
  bool is_any = false;  ///< every address of the machine
};

/// Listens on a TCP port of a host (name or number). A port that another program listens on is an error: SO_REUSEADDR
/// alone is set, never SO_REUSEPORT, with which two servers would share it silently. Throws Error.
Listener listen_on(const std::string& host, int64_t port);

}  // namespace minimind::detail
