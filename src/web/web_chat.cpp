#include "minimind/web/web_chat.h"

#include <csignal>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "minimind/base/error.h"
#include "minimind/base/log.h"
#include "web/chat_service.h"
#include "web/routes.h"

namespace minimind {

namespace {

volatile std::sig_atomic_t stop_signals = 0;
const HttpServer* signalled_server = nullptr;

void on_stop_signal(int /*signal*/) {
  stop_signals = stop_signals + 1;
  if (signalled_server != nullptr) {
    signalled_server->wake();
  }
}

/// While it lives, SIGTERM and SIGINT are counted and wake the server.
class StopSignals {
 public:
  explicit StopSignals(const HttpServer& server) {
    stop_signals = 0;
    signalled_server = &server;
    struct sigaction action {};
    action.sa_handler = on_stop_signal;
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, &previous_term_);
    sigaction(SIGINT, &action, &previous_int_);
  }
  ~StopSignals() {
    sigaction(SIGTERM, &previous_term_, nullptr);
    sigaction(SIGINT, &previous_int_, nullptr);
    signalled_server = nullptr;
  }
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

 private:
  struct sigaction previous_term_ {};
  struct sigaction previous_int_ {};
};

/// Those of `fields` that are named.
Fields chosen(const Fields& fields, const std::vector<std::string>& names) {
  Fields result;
  for (const std::string& name : names) {
    for (const Field& field : fields) {
      if (field.name == name) {
        result.push_back(field);
      }
    }
  }
  return result;
}

std::string settings_json(const WebChatOptions& options) {
  nlohmann::ordered_json json;
  json["model"] = options.model_name;
  json["temperature"] = options.chat.chat.sampling.temperature;
  json["top_k"] = options.chat.chat.sampling.top_k;
  json["max_tokens"] = options.chat.chat.max_new_tokens;
  json["max_messages"] = ChatRequestRules().messages;
  json["max_pictures"] = options.max_pictures;
  json["max_body_bytes"] = options.max_body_mb << 20;
  return json.dump();
}

ChatServiceOptions service_options(const WebChatOptions& options) {
  ChatServiceOptions service;
  service.rules.model = options.model_name;
  service.rules.sampling = options.chat.chat.sampling;
  service.rules.max_new_tokens = options.chat.chat.max_new_tokens;
  service.rules.images = options.max_pictures;
  service.image_limits.max_pixels = options.max_megapixels * 1'000'000;
  service.context = options.chat.chat.context;
  service.weights = options.chat.chat.weights;
  service.queue = options.max_queue;
  service.request_seconds = options.request_seconds;
  return service;
}

HttpServerOptions http_options(const WebChatOptions& options) {
  HttpServerOptions http;
  http.host = options.host;
  http.port = options.port;
  http.limits.body_bytes = static_cast<size_t>(options.max_body_mb) << 20;
  http.held_bytes = http.limits.body_bytes * 8;
  http.connections = options.max_connections;
  return http;
}

/// Says when run() is to end: after a signal and the last answer, after two signals, or when the time for it is over.
class Shutdown {
 public:
  Shutdown(ChatService& service, detail::Routes& routes, double seconds)
      : service_(service), routes_(routes), seconds_(seconds) {}

  bool go_on() {
    service_.sweep();
    if (stop_signals == 0) {
      return true;
    }
    if (!begun_) {
      begun_ = true;
      since_ = std::chrono::steady_clock::now();
      service_.stop_taking();
      routes_.tell_of_shutdown();
      log_info(concat("stopping: ", service_.inside(), " requests are still answered (a second signal ends at once)"));
    }
    const double waited = std::chrono::duration<double>(std::chrono::steady_clock::now() - since_).count();
    if (!given_up_ && (stop_signals > 1 || waited > seconds_)) {
      given_up_ = true;
      service_.give_up();
    }
    return !service_.idle();
  }

 private:
  ChatService& service_;
  detail::Routes& routes_;
  double seconds_;
  bool begun_ = false;
  bool given_up_ = false;
  std::chrono::steady_clock::time_point since_;
};

}  // namespace

Fields WebChatOptions::file_fields() {
  Fields fields = chosen(chat.file_fields(),
                         {"checkpoint", "clip_dir", "tokenizer", "allow_missing", "device", "weights", "threads"});
  fields.front().help = "weights: .pth, .safetensors or a Hugging Face folder; empty: out/512_vlm_sft.pth";
  return fields;
}

Fields WebChatOptions::server_fields() {
  return {{"host", &host, "address to listen on; 0.0.0.0 lets other machines in (there is no password)", {}},
          {"port", &port, "port to listen on; 0: any free one", {}},
          {"allowed_hosts",
           &allowed_hosts,
           "further names by which browsers may ask (a proxy's), where only this machine is listened to",
           {}},
          {"model_name", &model_name, "the model's name in the API; empty: the checkpoint's name", {}}};
}

Fields WebChatOptions::limit_fields() {
  return {{"max_body_mb", &max_body_mb, "largest request", {}},
          {"max_pictures", &max_pictures, "images in a request", {}},
          {"max_megapixels", &max_megapixels, "largest image", {}},
          {"max_queue", &max_queue, "requests that may wait; further ones are told to come again", {}},
          {"max_connections", &max_connections, "clients at once", {}},
          {"request_seconds", &request_seconds, "from a request's arrival to the end of its answer", {}},
          {"shutdown_seconds", &shutdown_seconds, "given to answers under way after SIGTERM or Ctrl-C", {}}};
}

Fields WebChatOptions::answer_fields() {
  return chosen(chat.answer_fields(), {"temperature", "top_k", "top_p", "repetition_penalty", "repetition_penalty_mode",
                                       "max_new_tokens", "max_seq_len"});
}

void WebChatOptions::resolve() {
  chat.resolve();
  const auto at_least = [](const char* name, double low, double value) {
    if (!(value >= low)) {
      throw UsageError(concat("--", name, ": expected ", low, " or more, found ", value));
    }
  };
  const auto at_most = [](const char* name, double high, double value) {
    if (value > high) {
      throw UsageError(concat("--", name, ": expected at most ", high, ", as in a request, found ", value));
    }
  };
  at_most("temperature", kMostTemperature, chat.chat.sampling.temperature);
  at_most("repetition_penalty", kMostPenalty, chat.chat.sampling.repetition_penalty);
  require_flag_between("port", port, 0, 65535);
  require_flag_between("max_body_mb", max_body_mb, 1, 1024);
  require_flag_between("max_pictures", max_pictures, 0, 1000);
  require_flag_between("max_megapixels", max_megapixels, 1, 1000);
  require_flag_between("max_queue", max_queue, 0, 100000);
  require_flag_between("max_connections", max_connections, 1, 100000);
  at_least("request_seconds", 0.001, request_seconds);
  at_least("shutdown_seconds", 0, shutdown_seconds);
  if (model_name.empty()) {
    std::filesystem::path path = chat.files.checkpoint;
    path = path.has_filename() ? path : path.parent_path();
    model_name = path.extension() == ".pth" || path.extension() == ".safetensors" ? path.stem() : path.filename();
  }
}

int run_web_chat(const WebChatOptions& options) {
  // Before the model is read: a port in use is told at once.
  ServerMetrics metrics;
  detail::Routes* routes = nullptr;
  HttpServer server(
      http_options(options),
      [&](HttpRequest request, std::shared_ptr<Reply> reply) { routes->handle(std::move(request), std::move(reply)); },
      [&](const HttpFailure& failure) {
        metrics.count_response("other", failure.status);
        return api_error_response(failure);
      });
  const std::unique_ptr<ChatModel> model =
      ChatModel::load(options.chat.files, [](const std::string& text) { log_warning(text); });
  ChatService service(*model, service_options(options), metrics);
  const int64_t now =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  std::vector<std::string> hosts = options.allowed_hosts;
  hosts.push_back(server.is_loopback() ? options.host : "*");
  detail::Routes all({options.model_name, now, settings_json(options), hosts}, service, metrics);
  routes = &all;
  metrics.add_gauge("minimind_requests_inside", "Requests that are read, wait or are answered.",
                    [&] { return static_cast<double>(service.inside()); });
  metrics.add_gauge("minimind_connections", "Clients connected.",
                    [&] { return static_cast<double>(server.connections()); });
  const StopSignals signals(server);
  if (!server.is_loopback()) {
    log_warning(
        concat("--host ", options.host, ": whoever reaches this address can use the model; there is no password"));
  }
  std::cout << "MiniMind-V chat at " << server.url() << "/   (API: " << server.url() << "/v1, model "
            << options.model_name << "; Ctrl-C ends)" << std::endl;
  Shutdown shutdown(service, all, options.shutdown_seconds);
  server.run([&] { return shutdown.go_on(); });
  return 0;
}

}  // namespace minimind
