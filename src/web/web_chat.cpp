#include "minimind/web/web_chat.h"

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>
#include <utility>

#include "base/output.h"
#include "base/signals.h"
#include "base/stopwatch.h"
#include "minimind/base/error.h"
#include "minimind/base/log.h"
#include "web/chat_service.h"
#include "web/free_memory.h"
#include "web/http_server.h"
#include "web/routes.h"

namespace minimind {

namespace {

constexpr size_t kLeastBody = size_t{1} << 20;

RouteOptions route_options(const WebChatOptions& options, bool is_loopback, size_t body_bytes) {
  const ChatOptions& chat = options.chat.chat;
  const nlohmann::ordered_json settings = {{"model", options.model_name},
                                           {"temperature", chat.sampling.temperature},
                                           {"top_k", chat.sampling.top_k},
                                           {"max_tokens", chat.max_new_tokens},
                                           {"max_messages", ChatRequestRules().messages},
                                           {"max_pictures", options.max_pictures},
                                           {"max_body_bytes", body_bytes}};
  RouteOptions routes{options.model_name, settings.dump(), options.allowed_hosts, options.allowed_origins};
  routes.hosts.push_back(is_loopback ? options.host : "*");
  return routes;
}

ChatServiceOptions service_options(const WebChatOptions& options) {
  const ChatOptions& chat = options.chat.chat;
  return {.rules = {.model = options.model_name,
                    .sampling = chat.sampling,
                    .max_new_tokens = chat.max_new_tokens,
                    .images = options.max_pictures},
          .image_limits = {.max_pixels = options.max_megapixels * 1'000'000},
          .context = chat.context,
          .weights = chat.weights,
          .queue = options.max_queue,
          .request_seconds = options.request_seconds};
}

/// Bounds the memory of all bodies by the memory that is free once the model is there; the rest is for images and
/// answers. Returns the limit of one body.
size_t limit_bodies(const WebChatOptions& options, HttpServer& server) {
  constexpr size_t kMaxBodies = 8;  // of the largest size
  const auto share = static_cast<size_t>(free_memory() / 4);
  const size_t asked = static_cast<size_t>(options.max_body_mb) << 20;
  const size_t body = std::min(asked, std::max(share / 2, kLeastBody));
  if (body < asked) {
    log_warning(concat("the memory that is left bounds a request to ", body >> 20, " MB instead of --max_body_mb ",
                       options.max_body_mb));
  }
  server.limit_bodies(body, std::min(kMaxBodies * asked, std::max(share, body)));
  return body;
}

}  // namespace

Fields WebChatOptions::file_fields() {
  Fields fields = chat.file_fields();
  fields.front().help = "weights: .pth, .safetensors or a Hugging Face folder; empty: out/512_vlm_sft.pth";
  return fields;
}

Fields WebChatOptions::server_fields() {
  return {{"host", &host, "address to listen on; 0.0.0.0 accepts other machines (there is no password)"},
          {"port", &port, "TCP port; 0: any free port"},
          {"allowed_hosts", &allowed_hosts,
           "further Host names to accept while the server listens on loopback, for example of a proxy"},
          {"allowed_origins", &allowed_origins,
           "web pages that may use the API beside pages of this machine, such as https://chat.example; *: all pages"},
          {"model_name", &model_name, "model name in the API; empty: the name of the weights file"}};
}

Fields WebChatOptions::limit_fields() {
  return {{"max_body_mb", &max_body_mb, "maximum request size in MB"},
          {"max_pictures", &max_pictures, "maximum number of images per request"},
          {"max_megapixels", &max_megapixels, "maximum image size in megapixels (1 to 178)"},
          {"max_queue", &max_queue, "maximum number of waiting requests; further requests get status 429"},
          {"max_connections", &max_connections, "maximum number of open connections"},
          {"request_seconds", &request_seconds,
           "time limit of a request in seconds, from arrival to the end of the answer"},
          {"shutdown_seconds", &shutdown_seconds, "seconds for running answers after SIGTERM or Ctrl-C"}};
}

Fields WebChatOptions::answer_fields() {
  Fields fields = chat.answer_fields();
  // Requests give the seed; /metrics holds the speed.
  std::erase_if(fields, [](const Field& field) { return field.name == "seed" || field.name == "show_speed"; });
  return fields;
}

void WebChatOptions::resolve() {
  chat.resolve();
  const auto at_most = [](const char* name, double high, double value) {
    if (value > high) {
      throw UsageError(concat("--", name, ": expected at most ", high, ", as in a request, found ", value));
    }
  };
  at_most("temperature", kMaxTemperature, chat.chat.sampling.temperature);
  at_most("repetition_penalty", kMaxRepetitionPenalty, chat.chat.sampling.repetition_penalty);
  for (const std::string& origin : allowed_origins) {
    check_origin("allowed_origins", origin);
  }
  require_flag_between("port", port, 0, 65535);
  require_flag_between("max_body_mb", max_body_mb, 1, 1024);
  require_flag_between("max_pictures", max_pictures, 0, 1000);
  require_flag_between("max_megapixels", max_megapixels, 1, 178);  // DecodeLimits::max_pixels
  require_flag_between("max_queue", max_queue, 0, 100000);
  require_flag_between("max_connections", max_connections, 1, 100000);
  require_flag_at_least("request_seconds", request_seconds, 0.001);
  require_flag_at_least("shutdown_seconds", shutdown_seconds, 0.0);
  if (model_name.empty()) {
    std::filesystem::path path = chat.files.checkpoint;
    path = path.has_filename() ? path : path.parent_path();
    model_name = path.extension() == ".pth" || path.extension() == ".safetensors" ? path.stem() : path.filename();
  }
}

static int serve_until_signal(const WebChatOptions& options, std::ostream& out) {
  ServerMetrics metrics;
  std::optional<Routes> routes;
  // Listens before the slow load of the model, so that a port in use is reported at once.
  HttpServer server(
      {options.host, options.port, options.max_connections},
      [&](HttpRequest request, std::shared_ptr<Reply> reply) { routes->handle(std::move(request), std::move(reply)); },
      [&](const ApiError& error) {
        metrics.count_response("other", error.status());
        return api_error_response(error);
      });
  const std::unique_ptr<ChatModel> model =
      ChatModel::load(options.chat.files, [](const std::string& text) { log_warning(text); });
  ChatService service(*model, service_options(options), metrics);
  routes.emplace(route_options(options, server.is_loopback(), limit_bodies(options, server)), service, metrics);
  metrics.add_gauge("minimind_requests_inside", "Requests that are read, wait or are answered.",
                    [&] { return service.inside(); });
  metrics.add_gauge("minimind_connections", "Open connections.", [&] { return server.connections(); });
  const SignalCatcher signals({SIGINT, SIGTERM}, SignalCatcher::SecondSignal::kIsCounted);
  if (!server.is_loopback()) {
    log_warning(concat("--host ", options.host,
                       ": every machine that reaches this address can use the model; there is "
                       "no password"));
  }
  out << "MiniMind-V chat at " << server.url() << "/   (API: " << server.url() << "/v1, model " << options.model_name
      << "; Ctrl-C ends)" << std::endl;
  require_written(out);
  std::optional<Stopwatch> since_signal;
  server.run([&] {
    service.sweep();
    if (SignalCatcher::count() == 0) {
      return true;
    }
    if (!since_signal) {
      since_signal.emplace();
      service.stop_taking();
      routes->announce_shutdown();
      log_info(concat("stopping: ", service.inside(), " requests are still answered (a second signal ends at once)"));
    }
    if (SignalCatcher::count() > 1 || since_signal->seconds() > options.shutdown_seconds) {
      service.give_up();
    }
    return !service.idle();
  });
  return 0;
}

int run_web_chat(const WebChatOptions& options, std::ostream& out) {
  try {
    return serve_until_signal(options, out);
  } catch (const std::exception& error) {
    if (!is_out_of_memory(error)) {
      throw;
    }
  }
  fail("web_chat: out of memory; a smaller --max_seq_len, fewer --threads or --weights bfloat16 needs less");
}

}  // namespace minimind
