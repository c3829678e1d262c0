#include "web/chat_service.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <ctime>
#include <random>
#include <utility>
#include <vector>

#include "base/stopwatch.h"
#include "infer/make_decoder.h"
#include "minimind/base/error.h"
#include "minimind/base/log.h"
#include "minimind/infer/generator.h"
#include "minimind/infer/prompt.h"
#include "web/free_memory.h"
#include "web/request_images.h"

namespace minimind {

namespace {

constexpr const char* kRoute = "/v1/chat/completions";

/// The status of a request whose client has gone: nginx's number, which is never sent.
constexpr int kClientGone = 499;

ApiError shutting_down() {
  return {503, "the server is shutting down", "", "shutting_down"};
}

/// Only the first line of the error: LibTorch appends a backtrace.
ApiError internal_error(const std::exception& error) {
  if (is_out_of_memory(error)) {
    log_warning("an answer failed: out of memory");
    return out_of_memory();
  }
  const std::string_view what = error.what();
  const std::string_view line = what.substr(0, what.find('\n'));
  log_warning(concat("an answer failed: ", line));
  return ApiError(500, concat("the answer failed: ", line), "", "internal_error");
}

/// Removes the end that the template gives the last message, so that the model continues it.
void open_last_answer(EncodedChat& chat, TokenId eos) {
  const auto end = std::find(chat.ids.rbegin(), chat.ids.rend(), eos);
  require(end != chat.ids.rend(), "messages: expected a user message at the end: this tokenizer marks no answer's end");
  chat.ids.erase(std::prev(end.base()), chat.ids.end());
}

}  // namespace

struct ChatService::Job {
  HttpRequest http;
  std::shared_ptr<Reply> reply;
  Stopwatch since_arrival;
  ChatRequest request;
  EncodedChat chat;
  std::vector<Image> images;  ///< resized to the encoder's side, so that waiting requests take little memory
};

ChatService::ChatService(ChatModel& model, const ChatServiceOptions& options, ServerMetrics& metrics)
    : model_(model),
      options_(options),
      metrics_(metrics),
      random_((static_cast<uint64_t>(std::random_device()()) << 32) ^ std::random_device()()),
      decoder_(make_decoder(model.model(), options.context, DecoderKind::kAuto, options.weights)),
      sequence_(decoder_->open()) {
  options_.rules.placeholder = model.pattern().placeholder;
  reader_ = std::thread([this] { read_jobs(); });
  answerer_ = std::thread([this] { answer_jobs(); });
}

ChatService::~ChatService() {
  stop_taking();
  give_up();
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  reader_.join();
  answerer_.join();
}

void ChatService::submit(HttpRequest request, std::shared_ptr<Reply> reply) {
  auto job = std::make_unique<Job>();
  job->http = std::move(request);
  job->reply = std::move(reply);
  if (!taking_) {
    finish(*job, shutting_down());
    return;
  }
  if (inside_ > options_.queue) {
    finish(*job, ApiError(429, concat("the queue holds its ", options_.queue, " requests; try again later"), "",
                          "queue_full"));
    return;
  }
  ++inside_;
  {
    const std::lock_guard lock(mutex_);
    arrived_.push_back(std::move(job));
  }
  changed_.notify_all();
}

/// Waits for the queue's next job. Null at the end.
ChatService::JobPointer ChatService::next(Queue& queue) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return ending_ || !queue.empty(); });
  if (queue.empty()) {
    return nullptr;
  }
  JobPointer job = std::move(queue.front());
  queue.pop_front();
  return job;
}

std::optional<ApiError> ChatService::end_reason(const Job& job) const {
  if (job.reply->gone()) {
    return ApiError(kClientGone, "the client left");
  }
  if (giving_up_) {
    return shutting_down();
  }
  if (job.since_arrival.seconds() > options_.request_seconds) {
    return ApiError(504, concat("the answer was not ready within ", options_.request_seconds, " seconds"), "",
                    "timeout");
  }
  return std::nullopt;
}

void ChatService::require_wanted(const Job& job) const {
  if (const std::optional<ApiError> reason = end_reason(job)) {
    throw ApiError(*reason);
  }
}

void ChatService::finish(Job& job, const ApiError& error, AnswerWriter* writer) {
  if (error.status() == kClientGone) {
    metrics_.count(ServerMetrics::Counter::kGoneClients);
    return;
  }
  metrics_.count_response(kRoute, error.status());
  if (writer != nullptr) {
    writer->fail(error);
  } else {
    job.reply->send(api_error_response(error));
  }
}

void ChatService::sweep() {
  std::vector<std::pair<JobPointer, ApiError>> ended;
  {
    const std::lock_guard lock(mutex_);
    for (Queue* queue : {&arrived_, &ready_}) {
      for (JobPointer& job : *queue) {
        if (const std::optional<ApiError> reason = end_reason(*job)) {
          ended.emplace_back(std::move(job), *reason);
        }
      }
      std::erase(*queue, nullptr);
    }
  }
  for (const auto& [job, reason] : ended) {
    finish(*job, reason);
    --inside_;
  }
}

void ChatService::give_up() {
  giving_up_ = true;
  sweep();
}

void ChatService::read_jobs() {
  while (JobPointer job = next(arrived_)) {
    try {
      prepare(*job);
      {
        const std::lock_guard lock(mutex_);
        ready_.push_back(std::move(job));
      }
      changed_.notify_all();
      continue;
    } catch (const ApiError& error) {
      finish(*job, error);
    } catch (const Error& error) {
      finish(*job, ApiError(400, error.what(), "messages", "invalid_value"));
    } catch (const std::exception& error) {
      finish(*job, internal_error(error));
    }
    --inside_;
  }
}

void ChatService::read_images(Job& job) const {
  ImageReading reading{options_.image_limits, model_.image_side(), [&] { require_wanted(job); },
                       [] { return free_memory(); }};
  reading.limits.go_on = [&](int64_t) { return !end_reason(job); };
  job.images = read_request_images(job.request.images, reading);
  job.request.images.clear();
}

/// Refuses a body whose parsed form, with the images in it, would take more memory than there is.
void ChatService::require_memory(const Job& job) {
  constexpr int64_t kCopies = 4;  // the parser's text, the parsed text, the images, and room
  if (kCopies * std::ssize(job.http.body) > free_memory()) {
    throw out_of_memory();
  }
}

void ChatService::prepare(Job& job) const {
  require_memory(job);
  job.request = parse_chat_request(job.http.body, options_.rules);
  job.http = {};
  read_images(job);
  job.chat = encode_chat(model_.tokenizer(), model_.pattern(), job.request.messages);
  if (job.request.messages.back().role == "assistant") {
    open_last_answer(job.chat, model_.tokenizer().eos_id());
  }
  require_image_for_each_span(std::ssize(job.chat.spans), std::ssize(job.images), model_.pattern().placeholder);
  const int64_t length = std::ssize(job.chat.ids);
  const int64_t reserve = std::min(job.request.max_new_tokens, options_.context / 4);
  if (length + reserve > options_.context) {
    throw ApiError(400,
                   concat("messages: expected at most ", options_.context - reserve, " tokens (a context of ",
                          options_.context, " less ", reserve, " for the answer), found ", length),
                   "messages", "context_length_exceeded");
  }
}

void ChatService::answer_jobs() {
  at::init_num_threads();  // the chosen number of threads holds per thread
  model_.use_device_in_this_thread();
  while (JobPointer job = next(ready_)) {
    answer(*job);
    job.reset();
    --inside_;
  }
}

AnswerHead ChatService::new_head() {
  static constexpr char kDigits[] = "0123456789abcdefghijklmnopqrstuv";
  AnswerHead head{"chatcmpl-", options_.rules.model, std::time(nullptr)};
  for (int i = 0; i < 24; ++i) {
    head.id += kDigits[random_.below(32)];
  }
  return head;
}

void ChatService::answer(Job& job) {
  AnswerWriter writer(*job.reply, job.request, new_head());
  try {
    std::optional<ApiError> reason = end_reason(job);
    if (reason) {
      finish(job, *reason);
      return;
    }
    std::vector<at::Tensor> features;
    for (const Image& image : job.images) {
      features.push_back(model_.features(image));
    }
    metrics_.count(ServerMetrics::Counter::kImages, std::ssize(features));
    StreamDecoder stream(model_.tokenizer());
    Random random(job.request.seed.value_or(random_.next()));
    bool is_first = true;
    writer.start();
    const Generation generation = generate(
        *decoder_, sequence_, job.chat.ids, model_.embed(job.chat.ids, job.chat.spans, features),
        {job.request.sampling, job.request.max_new_tokens, model_.tokenizer().eos_id()}, random, [&](TokenId id) {
          if (std::exchange(is_first, false)) {
            metrics_.add_seconds(ServerMetrics::Timer::kFirstToken, job.since_arrival.seconds());
          }
          writer.add(stream.push(id));
          reason = end_reason(job);
          return !writer.stopped() && !reason;
        });
    metrics_.count(ServerMetrics::Counter::kPromptTokens, generation.prompt_tokens);
    metrics_.count(ServerMetrics::Counter::kCompletionTokens, std::ssize(generation.ids));
    if (reason && (!writer.stopped() || reason->status() == kClientGone)) {
      finish(job, *reason, &writer);
    } else {
      writer.add(stream.finish());
      writer.end(generation);
      metrics_.count_response(kRoute, 200);
    }
    metrics_.add_seconds(ServerMetrics::Timer::kRequest, job.since_arrival.seconds());
  } catch (const std::exception& error) {
    finish(job, internal_error(error), &writer);
  }
}

}  // namespace minimind
