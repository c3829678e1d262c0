#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "web/http_message.h"

namespace minimind {

struct HttpShared;
class HttpConnection;

struct HttpServerOptions {
  std::string host = "127.0.0.1";
  int64_t port = 8080;        ///< 0: any free port
  int64_t connections = 512;  ///< limit of open connections
};

/// Serves HTTP/1.0 and 1.1 on one thread. A slow client holds up no other client. A client that leaves, or closes its
/// sending half, is noticed while its answer is computed.
class HttpServer {
 public:
  /// Binds and listens. Throws Error if the address is not available, for example if the port is in use.
  HttpServer(const HttpServerOptions& options, HttpHandler handler, HttpRefusal refusal);
  ~HttpServer();

  /// `http://127.0.0.1:8080`, with an address that a browser on this machine can open.
  const std::string& url() const { return url_; }
  /// Whether only this machine reaches the server.
  bool is_loopback() const { return is_loopback_; }
  /// Sets the limits of one body (at first 24 MB) and of the memory of all bodies inside together (at first 192 MB).
  void limit_bodies(size_t body_bytes, size_t held_bytes);
  /// Serves while `go_on`, asked ten times a second, returns true. Then sends the finished answers for at most five
  /// seconds and closes all connections.
  void run(const std::function<bool()>& go_on);
  /// Open connections. To be called on the server's thread.
  int64_t connections() const;

 private:
  void listen(const std::string& host, int64_t port);
  void accept();
  void serve(std::shared_ptr<HttpConnection> connection);
  void serve_tick();
  void forget_closed();

  std::unique_ptr<HttpShared> shared_;
  int64_t max_connections_;
  std::string url_;
  bool is_loopback_ = true;
};

}  // namespace minimind
