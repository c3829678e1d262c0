#include "web/http_server.h"

#include <algorithm>
#include <chrono>
#include <new>
#include <utility>

#include "minimind/base/log.h"
#include "web/api_error.h"
#include "web/http_connection.h"

namespace minimind {

namespace {

using boost::asio::ip::tcp;
using boost::system::error_code;

constexpr auto kTick = std::chrono::milliseconds(100);
constexpr auto kFarewell = std::chrono::seconds(5);
constexpr int64_t kMaxRefused = 64;  ///< connections beyond the limit that still get status 503

}  // namespace

HttpServer::HttpServer(const HttpServerOptions& options, HttpHandler handler, HttpRefusal refusal)
    : shared_(std::make_unique<HttpShared>()), max_connections_(options.connections) {
  shared_->handler = std::move(handler);
  shared_->refusal = std::move(refusal);
  listen(options.host, options.port);
  const tcp::endpoint endpoint = shared_->acceptor.local_endpoint();
  const bool is_v6 = endpoint.address().is_v6();
  const bool is_any = endpoint.address().is_unspecified();
  const std::string address = !is_any ? endpoint.address().to_string() : is_v6 ? "::1" : "127.0.0.1";
  url_ = concat("http://", is_v6 ? "[" + address + "]" : address, ":", endpoint.port());
  is_loopback_ = endpoint.address().is_loopback();
}

HttpServer::~HttpServer() = default;

void HttpServer::listen(const std::string& host, int64_t port) {
  require(port >= 0 && port <= 65535, "--port: expected 0 to 65535, found ", port);
  error_code error;
  const auto endpoints =
      tcp::resolver(shared_->io)
          .resolve(host, std::to_string(port), tcp::resolver::passive | tcp::resolver::numeric_service, error);
  require(!error, "--host ", host, ": expected an address of this machine, found: ", error.message());
  for (const auto& entry : endpoints) {
    try {
      // reuse_addr is not SO_REUSEPORT, with which two servers would share a port without an error.
      shared_->acceptor = tcp::acceptor(shared_->io, entry.endpoint(), /*reuse_addr=*/true);
      return;
    } catch (const boost::system::system_error& failure) {
      error = failure.code();
    }
  }
  require(error != boost::asio::error::address_in_use, "--port ", port, ": expected a free port on ", host,
          ", found it in use by another program; choose another one (0: any free one)");
  fail("--host ", host, " --port ", port, ": expected an address to listen on, found: ", error.message());
}

void HttpServer::accept() {
  shared_->is_accepting = true;
  shared_->acceptor.async_accept([this](const error_code& error, tcp::socket socket) {
    shared_->is_accepting = false;
    if (!error) {
      serve(std::make_shared<HttpConnection>(*shared_, std::move(socket)));
      accept();
    }  // else, for example without a free file descriptor, run() accepts again after the tick
  });
}

void HttpServer::serve(std::shared_ptr<HttpConnection> connection) {
  if (connections() >= max_connections_) {
    forget_closed();
  }
  if (connections() < max_connections_) {
    connection->wait_for_bytes();
  } else if (connections() < max_connections_ + kMaxRefused) {
    connection->refuse(ApiError(503, concat("the server holds its ", max_connections_, " connections; try again later"),
                                "", "too_many_connections"));
  } else {
    return;
  }
  shared_->connections.push_back(std::move(connection));
}

void HttpServer::forget_closed() {
  std::erase_if(shared_->connections, [](const auto& connection) { return connection->is_gone(); });
}

void HttpServer::serve_tick() {
  shared_->io.restart();
  try {
    shared_->io.run_for(kTick);
  } catch (const std::bad_alloc&) {
    // The connection that lacked it ends by its time limit.
    log_warning("the server lacks memory for a connection; see --max_connections and --max_body_mb");
  }
  for (const std::shared_ptr<HttpConnection>& connection : shared_->connections) {
    connection->check();
  }
  forget_closed();
}

void HttpServer::run(const std::function<bool()>& go_on) {
  while (go_on()) {
    if (!shared_->is_accepting) {
      accept();
    }
    serve_tick();
  }
  shared_->is_ending = true;
  shared_->acceptor.close();
  const auto end = std::chrono::steady_clock::now() + kFarewell;
  const auto has_bytes = [](const auto& connection) { return connection->has_bytes_to_send(); };
  do {
    serve_tick();
  } while (std::chrono::steady_clock::now() < end &&
           std::any_of(shared_->connections.begin(), shared_->connections.end(), has_bytes));
  for (const std::shared_ptr<HttpConnection>& connection : shared_->connections) {
    connection->close();
  }
}

void HttpServer::limit_bodies(size_t body_bytes, size_t held_bytes) {
  shared_->body_bytes = body_bytes;
  shared_->held_limit = held_bytes;
}

int64_t HttpServer::connections() const {
  return std::ssize(shared_->connections);
}

}  // namespace minimind
