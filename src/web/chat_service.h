#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "minimind/base/random.h"
#include "minimind/chat/chat_model.h"
#include "minimind/image/decode.h"
#include "minimind/infer/decoder.h"
#include "web/answer_writer.h"
#include "web/api_error.h"
#include "web/chat_request.h"
#include "web/http_message.h"
#include "web/server_metrics.h"

namespace minimind {

struct ChatServiceOptions {
  ChatRequestRules rules;
  DecodeLimits image_limits;
  int64_t context = 1024;  ///< in tokens, prompt and answer together
  WeightFormat weights = WeightFormat::kFloat32;
  int64_t queue = 64;            ///< limit of waiting requests, beside the one that is answered
  double request_seconds = 120;  ///< limit from arrival to the end of the answer
};

/// Answers POST /v1/chat/completions with one model, first come first served. One thread reads requests (JSON, images,
/// tokens) and refuses bad ones; another thread owns the model and answers one request at a time. A request whose
/// client has gone or whose time is over leaves the queue, or is read or answered no further.
class ChatService {
 public:
  ChatService(ChatModel& model, const ChatServiceOptions& options, ServerMetrics& metrics);
  /// Ends all requests with status 503.
  ~ChatService();
  ChatService(const ChatService&) = delete;
  ChatService& operator=(const ChatService&) = delete;

  /// Queues a request, or refuses it: status 429 if the queue is full, 503 after stop_taking(). Does not block.
  void submit(HttpRequest request, std::shared_ptr<Reply> reply);
  /// Refuses new requests; requests inside are still answered.
  void stop_taking() { taking_ = false; }
  /// Ends all requests inside with status 503.
  void give_up();
  /// Removes waiting requests whose time is over (status 504) or whose clients have gone. To be called regularly.
  void sweep();

  bool idle() const { return inside_ == 0; }
  /// Requests that are read, wait or are answered.
  int64_t inside() const { return inside_; }

 private:
  struct Job;
  using JobPointer = std::unique_ptr<Job>;
  using Queue = std::deque<JobPointer>;
  void read_jobs();
  void answer_jobs();
  JobPointer next(Queue& queue);
  /// Parses the request, decodes its images, encodes its text. Throws ApiError if the request is wrong or not wanted.
  void prepare(Job& job) const;
  static void require_memory(const Job& job);
  void read_images(Job& job) const;
  void answer(Job& job);
  /// Why the work on a request ends early: its client has gone, its time is over, or the server ends.
  std::optional<ApiError> end_reason(const Job& job) const;
  /// Throws end_reason() if there is one.
  void require_wanted(const Job& job) const;
  /// Counts the error and sends it, through `writer` if there is one. A client that has gone gets nothing.
  void finish(Job& job, const ApiError& error, AnswerWriter* writer = nullptr);
  AnswerHead new_head();

  ChatModel& model_;
  ChatServiceOptions options_;
  ServerMetrics& metrics_;
  Random random_;  ///< for ids, and for seeds that requests do not give; used by the model's thread
  std::unique_ptr<Decoder> decoder_;
  SequenceId sequence_;

  std::mutex mutex_;
  std::condition_variable changed_;
  Queue arrived_;
  Queue ready_;
  bool ending_ = false;
  std::atomic<bool> taking_ = true;
  std::atomic<bool> giving_up_ = false;
  std::atomic<int64_t> inside_ = 0;
  std::thread reader_;
  std::thread answerer_;
};

}  // namespace minimind
