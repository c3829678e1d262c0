#include "dist/rank_watch.h"

#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <mutex>
#include <utility>

#include "minimind/base/error.h"

namespace minimind::detail {
namespace {

using WatchClock = std::chrono::steady_clock;

constexpr std::chrono::seconds kBeat{1};
constexpr int64_t kPatience = 15;        // beats
constexpr int64_t kPatienceInAlarm = 3;  // beats
constexpr std::chrono::seconds kSilence{15};
constexpr std::chrono::seconds kGrace{5};
constexpr std::chrono::seconds kExplain{12};
constexpr std::chrono::seconds kDeliver{3};
constexpr std::chrono::seconds kFarewell{10};
constexpr const char* kLost = "lost";
constexpr const char* kAlarm = "alarm";

std::string key(const char* what, int64_t rank) {
  return concat(what, '/', rank);
}

std::string own_name() {
  char host[256] = {};
  const bool is_known = ::gethostname(host, sizeof(host) - 1) == 0;
  return concat("process ", ::getpid(), " on ", is_known ? host : "an unknown host");
}

}  // namespace

struct RankWatch::State {
  State(const RankInfo& rank_info, c10::intrusive_ptr<c10d::Store> rank_store)
      : info(rank_info), store(std::move(rank_store)), neighbour((rank_info.rank + 1) % rank_info.world_size) {}

  void talk();
  void beat();
  void look_at_neighbour();
  void leave();
  void guard();
  void lose(const std::string& text);
  std::string silent_store() const;

  const RankInfo info;
  const c10::intrusive_ptr<c10d::Store> store;  // of the talker alone
  const int64_t neighbour;
  int64_t neighbours_count = 0;
  int64_t standing_still = 0;

  std::mutex mutex;
  std::condition_variable changed;
  std::string lost;
  WatchClock::time_point lost_at{};
  WatchClock::time_point last_beat = WatchClock::now();
  bool alarm = false;
  std::string to_report;
  bool is_ending = false;  // by itself
  bool is_leaving = false;
  bool has_left = false;
};

std::string RankWatch::State::silent_store() const {
  const std::string place = concat(info.master_address, ":", info.master_port);
  return info.store_is_served
             ? concat("the launcher's store at ", place, " does not answer: the launcher or its host is gone")
             : concat("rank 0, which keeps the store at ", place,
                      ", does not answer: it was killed, or its host cannot be reached");
}

void RankWatch::State::lose(const std::string& text) {
  const std::lock_guard lock(mutex);
  if (lost.empty()) {
    lost = text;
    lost_at = WatchClock::now();
    changed.notify_all();
  }
}

void RankWatch::State::look_at_neighbour() {
  const int64_t count = store->add(key("beat", neighbour), 0);
  const bool neighbour_left = store->add(key("left", neighbour), 0) > 0;
  standing_still = count == neighbours_count && !neighbour_left ? standing_still + 1 : 0;
  neighbours_count = count;
  if (standing_still >= (store->add(kAlarm, 0) > 0 ? kPatienceInAlarm : kPatience)) {
    const std::string who = key("who", neighbour);
    const std::string text =
        concat("rank ", neighbour, " (", store->check({who}) ? store->get_to_str(who) : "it has not said where",
               ") has not been heard from for ", standing_still, " s: it was killed, or its host cannot be reached");
    store->compareSet(kLost, std::string(), text);
  }
}

void RankWatch::State::beat() {
  store->add(key("beat", info.rank), 1);
  look_at_neighbour();
  if (store->check({kLost})) {
    lose(store->get_to_str(kLost));
  }
}

void RankWatch::State::leave() {
  store->add(key("left", info.rank), 1);
  if (info.store_is_served || info.rank != 0) {
    return;
  }
  const WatchClock::time_point end = WatchClock::now() + (lost.empty() ? kFarewell : kDeliver);
  for (int64_t rank = 1; rank < info.world_size; ++rank) {
    while (store->add(key("left", rank), 0) == 0 && WatchClock::now() < end) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  }
}

void RankWatch::State::talk() {
  try {
    std::unique_lock lock(mutex);
    while (!is_leaving) {
      const bool raises_alarm = std::exchange(alarm, false);
      const std::string report = to_report;
      lock.unlock();
      if (raises_alarm) {
        store->add(kAlarm, 1);
      }
      if (!report.empty()) {
        store->compareSet(kLost, std::string(), report);
      }
      beat();
      lock.lock();
      last_beat = WatchClock::now();
      if (!report.empty()) {
        to_report.clear();
        changed.notify_all();
      }
      changed.wait_for(lock, kBeat, [&] { return is_leaving || alarm || !to_report.empty(); });
    }
    lock.unlock();
    leave();
  } catch (const std::exception&) {
    lose(silent_store());
  }
  const std::lock_guard lock(mutex);
  has_left = true;
  changed.notify_all();
}

void RankWatch::State::guard() {
  std::unique_lock lock(mutex);
  while (!changed.wait_for(lock, kBeat, [&] { return is_leaving; })) {
    const WatchClock::time_point now = WatchClock::now();
    if (lost.empty() && now - last_beat > kSilence) {
      lost = silent_store();
      lost_at = now;
      changed.notify_all();
    }
    if (!lost.empty() && now - lost_at > (is_ending ? 3 * kGrace : kGrace)) {
      std::fprintf(stderr, "error: rank %lld of %lld: %s; this process cannot go on without it\n",
                   static_cast<long long>(info.rank), static_cast<long long>(info.world_size), lost.c_str());
      ::_exit(1);
    }
  }
}

RankWatch::RankWatch(const RankInfo& info, c10::intrusive_ptr<c10d::Store> store)
    : state_(std::make_shared<State>(info, std::move(store))) {
  state_->store->set(key("who", info.rank), own_name());
  talker_ = std::thread([state = state_] { state->talk(); });
  guard_ = std::thread([state = state_] { state->guard(); });
}

RankWatch::~RankWatch() {
  {
    std::unique_lock lock(state_->mutex);
    state_->is_leaving = true;
    state_->changed.notify_all();
    state_->changed.wait_for(lock, kFarewell + kDeliver, [&] { return state_->has_left; });
    if (!state_->has_left) {
      talker_.detach();
    }
  }
  if (talker_.joinable()) {
    talker_.join();
  }
  guard_.join();
}

void RankWatch::report(const std::string& cause) {
  std::unique_lock lock(state_->mutex);
  state_->is_ending = true;
  state_->to_report = concat("rank ", state_->info.rank, " has ended: ", cause);
  state_->changed.notify_all();
  state_->changed.wait_for(lock, kDeliver, [&] { return state_->to_report.empty() || state_->has_left; });
}

std::string RankWatch::explain_loss() {
  std::unique_lock lock(state_->mutex);
  state_->alarm = true;
  state_->changed.notify_all();
  state_->changed.wait_for(lock, kExplain, [&] { return !state_->lost.empty(); });
  state_->is_ending = true;
  return state_->lost;
}

}  // namespace minimind::detail
