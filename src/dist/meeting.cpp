#include "dist/meeting.h"

#include <unistd.h>

#include <random>
#include <thread>
#include <utility>

#include "dist/launcher_times.h"
#include "minimind/base/error.h"
#include "minimind/base/log.h"

namespace minimind::detail {
namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kAttempts = "attempts";
constexpr std::chrono::milliseconds kPause{20};
constexpr std::chrono::seconds kQuiet{10};  // before the user is told for whom it waits

/// Of all processes on all hosts no other says it. Not the run's seeded numbers: those are alike on all ranks.
std::string new_word() {
  std::random_device device;
  return concat(::getpid(), "-", device(), "-", device());
}

std::string welcome(const std::string& word) {
  return concat("welcome/", word);
}

}  // namespace

Meeting::Meeting(c10::intrusive_ptr<c10d::Store> store, const RankInfo& info)
    : store_(std::move(store)), info_(info), own_word_(new_word()) {
  if (info_.rank == 0) {
    first_started_ = std::stod(store_->compareSet("started", std::string(), std::to_string(seconds_since_1970())));
    enter(store_->add(kAttempts, 1));
  } else {
    store_->set(hello(info_.rank), own_word_);
  }
}

std::string Meeting::prefix() const {
  return concat("attempt", attempt_);
}

std::string Meeting::here(int64_t rank) const {
  return concat(prefix(), "/here/", rank);
}

std::string Meeting::hello(int64_t rank) const {
  return concat("hello/", rank);
}

std::string Meeting::is_open() const {
  return prefix() + "/open";
}

void Meeting::enter(int64_t attempt) {
  attempt_ = attempt;
  store_->set(here(info_.rank), own_word_);
}

/// Answers what the rank said last. A dead rank is answered in vain, and so is its successor, until that one comes.
bool Meeting::has_come(int64_t rank) {
  if (!store_->check({hello(rank)})) {
    return false;
  }
  const std::string word = store_->get_to_str(hello(rank));
  if (store_->check({here(rank)}) && store_->get_to_str(here(rank)) == word) {
    return true;
  }
  store_->set(welcome(word), std::to_string(attempt_));
  return false;
}

std::optional<int64_t> Meeting::missing_for_rank_0() {
  std::optional<int64_t> missing;
  for (int64_t rank = info_.world_size - 1; rank > 0; --rank) {
    missing = has_come(rank) ? missing : rank;
  }
  if (!missing) {
    store_->set(is_open(), std::string("yes"));
  }
  return missing;
}

/// To a later attempt too: rank 0 may be started anew while this one still waits.
void Meeting::follow_rank_0() {
  if (store_->check({welcome(own_word_)})) {
    const int64_t attempt = std::stoll(store_->get_to_str(welcome(own_word_)));
    if (attempt != attempt_) {
      enter(attempt);
    }
  }
}

std::optional<int64_t> Meeting::missing_rank() {
  if (info_.rank == 0) {
    return missing_for_rank_0();
  }
  follow_rank_0();
  if (attempt_ == 0) {
    return 0;
  }
  if (store_->check({is_open()})) {
    return std::nullopt;
  }
  int64_t rank = 1;
  while (rank < info_.world_size && store_->check({here(rank)})) {
    ++rank;
  }
  return rank % info_.world_size;  // all are here: rank 0 has not noticed yet
}

void Meeting::wait_for_all(std::chrono::seconds patience) {
  const Clock::time_point start = Clock::now();
  bool has_told = false;
  while (const std::optional<int64_t> missing = missing_rank()) {
    require(Clock::now() - start < patience, "rank ", info_.rank, " of ", info_.world_size,
            ": expected all ranks to come within ", patience.count(), " s, found that rank ", *missing,
            " has not; was every process started, with the same address and number of ranks?");
    if (!has_told && info_.rank == 0 && Clock::now() - start > kQuiet) {
      has_told = true;
      log_info(concat("waiting for rank ", *missing, " of ", info_.world_size, " at ", info_.master_address, ":",
                      info_.master_port,
                      info_.launcher == Launcher::kSlurm
                          ? ": was the program started with srun, which starts every task of the job?"
                          : ": is every process started, with the same MASTER_ADDR and MASTER_PORT?"));
    }
    std::this_thread::sleep_for(kPause);
  }
}

}  // namespace minimind::detail
