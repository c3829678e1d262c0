#include "dist/rendezvous.h"

#include <unistd.h>

#include <random>
#include <thread>
#include <utility>

#include "minimind/base/error.h"
#include "minimind/base/log.h"

namespace minimind::detail {
namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kAttempts = "attempts";
constexpr const char* kRunId = "run_id";
constexpr std::chrono::milliseconds kPollInterval{20};
constexpr std::chrono::seconds kQuietTime{10};  // before the log names the missing rank

/// Unique among all processes of all hosts. Seeded random numbers would be equal on all ranks.
std::string make_nonce() {
  std::random_device device;
  return concat(::getpid(), "-", device(), "-", device());
}

std::string join_key(int64_t rank) {
  return concat("join/", rank);
}

std::string ack_key(const std::string& nonce) {
  return concat("ack/", nonce);
}

}  // namespace

std::string claim_run_id(c10d::Store& store) {
  return store.compareSet(kRunId, std::string(), make_nonce());
}

void release_run_id(c10d::Store& store) {
  store.deleteKey(kRunId);
}

Rendezvous::Rendezvous(c10::intrusive_ptr<c10d::Store> store, const RankInfo& info)
    : store_(std::move(store)), info_(info), nonce_(make_nonce()) {
  if (info_.rank == 0) {
    enter(store_->add(kAttempts, 1));
  } else {
    store_->set(join_key(info_.rank), nonce_);
  }
}

std::string Rendezvous::prefix() const {
  return concat("attempt", attempt_);
}

std::string Rendezvous::ready_key(int64_t rank) const {
  return concat(prefix(), "/ready/", rank);
}

std::string Rendezvous::open_key() const {
  return prefix() + "/open";
}

void Rendezvous::enter(int64_t attempt) {
  attempt_ = attempt;
  store_->set(ready_key(info_.rank), nonce_);
}

/// Answers the latest nonce of the rank. A dead rank never becomes ready with it; its successor joins with a new one.
bool Rendezvous::is_ready(int64_t rank) {
  if (!store_->check({join_key(rank)})) {
    return false;
  }
  const std::string nonce = store_->get_to_str(join_key(rank));
  if (store_->check({ready_key(rank)}) && store_->get_to_str(ready_key(rank)) == nonce) {
    return true;
  }
  store_->set(ack_key(nonce), std::to_string(attempt_));
  return false;
}

std::optional<int64_t> Rendezvous::missing_for_rank_0() {
  std::optional<int64_t> missing;
  for (int64_t rank = info_.world_size - 1; rank > 0; --rank) {
    missing = is_ready(rank) ? missing : rank;
  }
  if (!missing) {
    store_->set(open_key(), std::string("yes"));
  }
  return missing;
}

/// Rank 0 may restart while this rank waits: then this rank enters the later attempt.
void Rendezvous::follow_rank_0() {
  if (store_->check({ack_key(nonce_)})) {
    const int64_t attempt = std::stoll(store_->get_to_str(ack_key(nonce_)));
    if (attempt != attempt_) {
      enter(attempt);
    }
  }
}

std::optional<int64_t> Rendezvous::missing_rank() {
  if (info_.rank == 0) {
    return missing_for_rank_0();
  }
  follow_rank_0();
  if (attempt_ == 0) {
    return 0;
  }
  if (store_->check({open_key()})) {
    return std::nullopt;
  }
  int64_t rank = 1;
  while (rank < info_.world_size && store_->check({ready_key(rank)})) {
    ++rank;
  }
  return rank % info_.world_size;  // If all are ready, rank 0 has not opened the attempt yet.
}

void Rendezvous::wait_for_all(std::chrono::seconds patience) {
  const Clock::time_point start = Clock::now();
  bool is_logged = info_.rank != 0;
  while (const std::optional<int64_t> missing = missing_rank()) {
    require(Clock::now() - start < patience, "rank ", info_.rank, " of ", info_.world_size,
            ": expected all ranks within ", patience.count(), " s, found that rank ", *missing,
            " is missing; start every process with the same address and number of ranks");
    if (!is_logged && Clock::now() - start > kQuietTime) {
      is_logged = true;
      log_info(concat("waiting for rank ", *missing, " of ", info_.world_size, " at ", info_.master_address, ":",
                      info_.master_port,
                      info_.launcher == Launcher::kSlurm
                          ? ": was the program started with srun, which starts every task of the job?"
                          : ": was every process started with the same MASTER_ADDR and MASTER_PORT?"));
    }
    std::this_thread::sleep_for(kPollInterval);
  }
}

}  // namespace minimind::detail
