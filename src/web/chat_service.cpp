#include "web/chat_service.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <random>
#include <utility>

#include "infer/make_decoder.h"
#include "minimind/base/error.h"
#include "minimind/base/log.h"
#include "minimind/infer/generator.h"
#include "minimind/infer/prompt.h"
#include "web/answer_writer.h"

namespace minimind {

namespace {

constexpr const char* kRoute = "/v1/chat/completions";

/// Pixels that the images of one request may make the server read, in largest images: a plain file counts its own
/// once, a progressive JPEG once a scan (real ones have about ten). Others wait while they are read.
constexpr int64_t kImageBudget = 20;

double seconds_since_time(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

ApiError late_error(double seconds) {
  return ApiError(504, concat("the answer was not ready within ", seconds, " seconds"), "", "timeout");
}

ApiError stopping_error() {
  return ApiError(503, "the server is shutting down", "", "shutting_down");
}

/// The first line of what went wrong; LibTorch appends a backtrace to its own.
ApiError internal_error(const std::exception& error) {
  const std::string_view what = error.what();
  const std::string_view line = what.substr(0, what.find('\n'));
  log_warning(concat("an answer failed: ", line));
  return ApiError(500, concat("the answer failed: ", line), "", "internal_error");
}

}  // namespace

struct ChatService::Job {
  HttpRequest http;
  std::shared_ptr<Reply> reply;
  Clock::time_point arrived = Clock::now();
  ChatRequest request;
  EncodedChat chat;
  std::vector<Image> images;  ///< already of the encoder's size, so that what waits takes little memory
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
    refuse(*job, stopping_error());
    return;
  }
  if (inside_ > options_.queue) {
    refuse(*job,
           ApiError(429, concat("the queue holds its ", options_.queue, " requests; come again"), "", "queue_full"));
    return;
  }
  ++inside_;
  {
    const std::lock_guard lock(mutex_);
    arrived_.push_back(std::move(job));
  }
  changed_.notify_all();
}

ChatService::JobPointer ChatService::next(std::deque<JobPointer>& queue) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return ending_ || !queue.empty(); });
  if (queue.empty()) {
    return nullptr;
  }
  JobPointer job = std::move(queue.front());
  queue.pop_front();
  return job;
}

ChatService::Trouble ChatService::trouble(const Job& job) const {
  if (job.reply->gone()) {
    return Trouble::kVanished;
  }
  if (giving_up_) {
    return Trouble::kGivenUp;
  }
  return seconds_since_time(job.arrived) > options_.request_seconds ? Trouble::kLate : Trouble::kNone;
}

void ChatService::refuse(Job& job, const ApiError& error) {
  job.reply->send(api_error_response(error));
  metrics_.count_response(kRoute, error.status());
}

void ChatService::end_in_trouble(Job& job, Trouble trouble) {
  if (trouble == Trouble::kVanished) {
    metrics_.count_vanished();
  } else {
    refuse(job, trouble == Trouble::kLate ? late_error(options_.request_seconds) : stopping_error());
  }
}

void ChatService::sweep() {
  std::vector<std::pair<JobPointer, Trouble>> ended;
  {
    const std::lock_guard lock(mutex_);
    for (std::deque<JobPointer>* queue : {&arrived_, &ready_}) {
      std::deque<JobPointer> kept;
      for (JobPointer& job : *queue) {
        const Trouble why = trouble(*job);
        if (why == Trouble::kNone) {
          kept.push_back(std::move(job));
        } else {
          ended.emplace_back(std::move(job), why);
        }
      }
      queue->swap(kept);
    }
  }
  for (auto& [job, why] : ended) {
    end_in_trouble(*job, why);
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
      const Trouble why = prepare(*job);
      if (why == Trouble::kNone) {
        {
          const std::lock_guard lock(mutex_);
          ready_.push_back(std::move(job));
        }
        changed_.notify_all();
        continue;
      }
      end_in_trouble(*job, why);
    } catch (const ApiError& error) {
      refuse(*job, error);
    } catch (const Error& error) {
      refuse(*job, ApiError(400, error.what(), "messages", "invalid_value"));
    } catch (const std::exception& error) {
      refuse(*job, internal_error(error));
    }
    --inside_;
  }
}

ChatService::Trouble ChatService::read_images(Job& job) const {
  DecodeLimits limits = options_.image_limits;
  const int64_t budget = kImageBudget * limits.max_pixels;
  int64_t pixels = 0;
  Trouble why = Trouble::kNone;
  limits.go_on = [&](int64_t more) {
    pixels += more;
    why = trouble(job);
    return why == Trouble::kNone && pixels <= budget;
  };
  for (const RequestImage& image : job.request.images) {
    try {
      const Image whole = decode_image(image.bytes, image.where, limits);
      job.images.push_back(resize_bicubic(whole, model_.image_side(), model_.image_side()));
    } catch (const Error& error) {
      if (why != Trouble::kNone) {
        return why;
      }
      if (pixels > budget) {
        throw ApiError(400,
                       concat(image.where, ": expected images of at most ", budget,
                              " pixels in a request, those of a progressive JPEG counted once a scan, found more; make "
                              "them smaller or send fewer"),
                       image.where, "invalid_image");
      }
      throw ApiError(400, error.what(), image.where, "invalid_image");
    }
  }
  job.request.images.clear();
  return trouble(job);
}

ChatService::Trouble ChatService::prepare(Job& job) const {
  job.request = parse_chat_request(job.http.body, options_.rules);
  job.http = {};
  if (const Trouble why = read_images(job); why != Trouble::kNone) {
    return why;
  }
  job.chat = encode_chat(model_.tokenizer(), model_.pattern(), job.request.messages);
  require_image_for_each_span(std::ssize(job.chat.spans), std::ssize(job.images), model_.pattern().placeholder);
  const int64_t length = std::ssize(job.chat.ids);
  const int64_t reserve = std::min(job.request.max_new_tokens, options_.context / 4);
  if (length + reserve > options_.context) {
    throw ApiError(400,
                   concat("messages: expected at most ", options_.context - reserve, " tokens (a context of ",
                          options_.context, " less ", reserve, " for the answer), found ", length),
                   "messages", "context_length_exceeded");
  }
  return Trouble::kNone;
}

void ChatService::answer_jobs() {
  at::init_num_threads();  // a new thread knows nothing of the number that was chosen
  while (JobPointer job = next(ready_)) {
    answer(*job);
    job.reset();
    --inside_;
  }
}

AnswerHead ChatService::new_head(const Job& job) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  static constexpr char kDigits[] = "0123456789abcdefghijklmnopqrstuv";
  AnswerHead head;
  head.id = "chatcmpl-";
  for (int i = 0; i < 24; ++i) {
    head.id += kDigits[random_.below(32)];
  }
  head.created = std::chrono::duration_cast<std::chrono::seconds>(now).count();
  head.model = options_.rules.model;
  head.usage = job.request.include_usage;
  return head;
}

void ChatService::answer(Job& job) {
  detail::AnswerWriter writer(*job.reply, new_head(job), job.request);
  const auto end_with = [&](const ApiError& error) {
    metrics_.count_response(kRoute, error.status());
    writer.fail(error);
  };
  try {
    if (const Trouble why = trouble(job); why != Trouble::kNone) {
      end_in_trouble(job, why);
      return;
    }
    std::vector<at::Tensor> features;
    for (const Image& image : job.images) {
      features.push_back(model_.features(image));
    }
    metrics_.count_images(std::ssize(features));
    StreamDecoder stream(model_.tokenizer());
    Random random(job.request.seed.value_or(random_.next()));
    bool first = true;
    Trouble why = Trouble::kNone;
    writer.start();
    const Generation generation = generate(
        *decoder_, sequence_, job.chat.ids, model_.embed(job.chat.ids, job.chat.spans, features),
        {job.request.sampling, job.request.max_new_tokens, model_.tokenizer().eos_id()}, random, [&](TokenId id) {
          if (std::exchange(first, false)) {
            metrics_.add_first_token_seconds(seconds_since_time(job.arrived));
          }
          writer.add(stream.push(id));
          why = trouble(job);
          return !writer.stopped() && why == Trouble::kNone;
        });
    metrics_.count_tokens(generation.prompt_tokens, std::ssize(generation.ids));
    if (why == Trouble::kVanished) {
      metrics_.count_vanished();
    } else if (why != Trouble::kNone && !writer.stopped()) {
      end_with(why == Trouble::kLate ? late_error(options_.request_seconds) : stopping_error());
    } else {
      writer.add(stream.finish());
      const bool natural = writer.stopped() || generation.reason == StopReason::kEos;
      writer.end(natural ? "stop" : "length", {generation.prompt_tokens, std::ssize(generation.ids)});
      metrics_.count_response(kRoute, 200);
    }
    metrics_.add_request_seconds(seconds_since_time(job.arrived));
  } catch (const std::exception& error) {
    end_with(internal_error(error));
  }
}

}  // namespace minimind
