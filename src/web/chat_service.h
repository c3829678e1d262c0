#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "minimind/base/random.h"
#include "minimind/chat/chat_model.h"
#include "minimind/image/image.h"
#include "minimind/infer/decoder.h"
#include "web/api_error.h"
#include "web/chat_answer.h"
#include "web/chat_request.h"
#include "web/http_server.h"
#include "web/server_metrics.h"

namespace minimind {

struct ChatServiceOptions {
  ChatRequestRules rules;
  DecodeLimits image_limits;
  int64_t context = 1024;  ///< tokens of prompt and answer
  WeightFormat weights = WeightFormat::kFloat32;
  int64_t queue = 64;            ///< requests that may wait beside the one that is answered
  double request_seconds = 120;  ///< from arrival to the end of the answer
};

/// Answers POST /v1/chat/completions with one model, first come first served. One thread reads requests (JSON,
/// images, tokens) and refuses bad ones without touching the model; another one owns the model and answers one at a
/// time. A request whose client has gone, or whose time is over, leaves the queue or stops being read or answered. Each
/// connection has one request at a time, so that first come first served is fair among clients.
class ChatService {
 public:
  ChatService(ChatModel& model, const ChatServiceOptions& options, ServerMetrics& metrics);
  /// Gives up what is not answered yet.
  ~ChatService();
  ChatService(const ChatService&) = delete;
  ChatService& operator=(const ChatService&) = delete;

  /// Takes a request; status 429 if the queue is full, 503 after stop_taking(). Does not block.
  void submit(HttpRequest request, std::shared_ptr<Reply> reply);
  /// Refuses what comes from now on; what is here is still answered.
  void stop_taking() { taking_ = false; }
  /// Answers with 503 what waits, and ends the answer that is being written.
  void give_up();
  /// Answers with 504 what has waited too long and forgets those whose clients have gone. To be called now and then.
  void sweep();

  bool idle() const { return inside_ == 0; }
  /// Requests that are read, wait or are answered.
  int64_t inside() const { return inside_; }

 private:
  using Clock = std::chrono::steady_clock;
  struct Job;
  using JobPointer = std::unique_ptr<Job>;
  /// Why a job is not to be gone on with.
  enum class Trouble { kNone, kVanished, kLate, kGivenUp };

  void read_jobs();
  void answer_jobs();
  /// What the reading thread does for a request. Throws ApiError where it is wrong.
  Trouble prepare(Job& job) const;
  Trouble read_images(Job& job) const;
  void answer(Job& job);
  Trouble trouble(const Job& job) const;
  /// Tells the client, unless it has gone.
  void end_in_trouble(Job& job, Trouble trouble);
  void refuse(Job& job, const ApiError& error);
  JobPointer next(std::deque<JobPointer>& queue);
  AnswerHead new_head(const Job& job);

  ChatModel& model_;
  ChatServiceOptions options_;
  ServerMetrics& metrics_;
  Random random_;  ///< of ids, and of seeds where a request gives none; the model's thread alone uses it
  std::unique_ptr<Decoder> decoder_;
  SequenceId sequence_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<JobPointer> arrived_;
  std::deque<JobPointer> ready_;
  bool ending_ = false;
  std::atomic<bool> taking_ = true;
  std::atomic<bool> giving_up_ = false;
  std::atomic<int64_t> inside_ = 0;
  std::thread reader_;
  std::thread answerer_;
};

}  // namespace minimind
