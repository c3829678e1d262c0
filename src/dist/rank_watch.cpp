#include "dist/rank_watch.h"

#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <mutex>
#include <utility>

#include "base/stopwatch.h"
#include "minimind/base/error.h"

namespace minimind::detail {
namespace {

constexpr std::chrono::seconds kInterval{1};
constexpr int64_t kMissedBeats = 15;
constexpr int64_t kMissedBeatsInAlarm = 3;
constexpr double kStoreTimeout = 15;  // seconds
constexpr double kEndTimeout = 5;     // seconds
constexpr std::chrono::seconds kExplainTimeout{8};
constexpr std::chrono::seconds kReportTimeout{3};
constexpr std::chrono::seconds kSignOffTimeout{10};
constexpr const char* kLost = "lost";
constexpr const char* kAlarm = "alarm";

std::string key(const char* what, int64_t rank) {
  return concat(what, '/', rank);
}

std::string process_name() {
  char host[256] = {};
  const bool is_known = ::gethostname(host, sizeof(host) - 1) == 0;
  return concat("process ", ::getpid(), " on ", is_known ? host : "an unknown host");
}

}  // namespace

struct RankWatch::State {
  State(const RankInfo& rank_info, c10::intrusive_ptr<c10d::Store> rank_store)
      : info(rank_info), store(std::move(rank_store)), neighbour((rank_info.rank + 1) % rank_info.world_size) {}

  void run_heartbeat();
  void beat();
  void check_neighbour();
  void sign_off();
  void run_watchdog();
  void set_lost(const std::string& text);
  std::string silent_store_text() const;

  const RankInfo info;
  const c10::intrusive_ptr<c10d::Store> store;  // used by the heartbeat thread alone
  const int64_t neighbour;
  int64_t neighbour_count = 0;
  int64_t missed_beats = 0;

  std::mutex mutex;
  std::condition_variable changed;
  std::string lost;
  Stopwatch since_lost, since_beat;
  bool alarm = false;
  std::string to_report;
  bool is_ending = false;  // this process knows that it must end
  bool is_signing_off = false;
  bool has_signed_off = false;
};

std::string RankWatch::State::silent_store_text() const {
  const std::string place = concat(info.master_address, ":", info.master_port);
  return info.store_is_served
             ? concat("the launcher's store at ", place, " does not answer: the launcher or its host is gone")
             : concat("rank 0, which keeps the store at ", place,
                      ", does not answer: it was killed, or its host cannot be reached");
}

void RankWatch::State::set_lost(const std::string& text) {
  const std::lock_guard lock(mutex);
  if (lost.empty()) {
    lost = text;
    since_lost.restart();
    changed.notify_all();
  }
}

void RankWatch::State::check_neighbour() {
  const int64_t count = store->add(key("beat", neighbour), 0);
  const bool has_left = store->add(key("left", neighbour), 0) > 0;
  missed_beats = count == neighbour_count && !has_left ? missed_beats + 1 : 0;
  neighbour_count = count;
  if (missed_beats >= (store->add(kAlarm, 0) > 0 ? kMissedBeatsInAlarm : kMissedBeats)) {
    const std::string who = key("who", neighbour);
    const std::string text =
        concat("rank ", neighbour, " (", store->check({who}) ? store->get_to_str(who) : "its host is unknown",
               ") has not been heard from for ", missed_beats, " s: it was killed, or its host cannot be reached");
    store->compareSet(kLost, std::string(), text);
  }
}

void RankWatch::State::beat() {
  store->add(key("beat", info.rank), 1);
  check_neighbour();
  if (store->check({kLost})) {
    set_lost(store->get_to_str(kLost));
  }
}

void RankWatch::State::sign_off() {
  store->add(key("left", info.rank), 1);
  if (info.store_is_served || info.rank != 0) {
    return;
  }
  const Stopwatch waited;
  const std::chrono::duration<double> longest = lost.empty() ? kSignOffTimeout : kReportTimeout;
  for (int64_t rank = 1; rank < info.world_size; ++rank) {
    while (store->add(key("left", rank), 0) == 0 && waited.seconds() < longest.count()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  }
}

void RankWatch::State::run_heartbeat() {
  try {
    std::unique_lock lock(mutex);
    while (!is_signing_off) {
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
      since_beat.restart();
      if (!report.empty()) {
        to_report.clear();
        changed.notify_all();
      }
      changed.wait_for(lock, kInterval, [&] { return is_signing_off || alarm || !to_report.empty(); });
    }
    lock.unlock();
    sign_off();
  } catch (const std::exception&) {
    set_lost(silent_store_text());
  }
  const std::lock_guard lock(mutex);
  has_signed_off = true;
  changed.notify_all();
}

void RankWatch::State::run_watchdog() {
  std::unique_lock lock(mutex);
  while (!changed.wait_for(lock, kInterval, [&] { return is_signing_off; })) {
    if (lost.empty() && since_beat.seconds() > kStoreTimeout) {
      lost = silent_store_text();
      since_lost.restart();
      changed.notify_all();
    }
    if (!lost.empty() && since_lost.seconds() > (is_ending ? 3 * kEndTimeout : kEndTimeout)) {
      std::fprintf(stderr, "error: rank %lld of %lld: %s; this process cannot continue without it\n",
                   static_cast<long long>(info.rank), static_cast<long long>(info.world_size), lost.c_str());
      ::_exit(1);
    }
  }
}

RankWatch::RankWatch(const RankInfo& info, c10::intrusive_ptr<c10d::Store> store)
    : state_(std::make_shared<State>(info, std::move(store))) {
  state_->store->set(key("who", info.rank), process_name());
  heartbeat_thread_ = std::thread([state = state_] { state->run_heartbeat(); });
  watchdog_thread_ = std::thread([state = state_] { state->run_watchdog(); });
}

RankWatch::~RankWatch() {
  {
    std::unique_lock lock(state_->mutex);
    state_->is_signing_off = true;
    state_->changed.notify_all();
    state_->changed.wait_for(lock, kSignOffTimeout + kReportTimeout, [&] { return state_->has_signed_off; });
    if (!state_->has_signed_off) {
      heartbeat_thread_.detach();
    }
  }
  if (heartbeat_thread_.joinable()) {
    heartbeat_thread_.join();
  }
  watchdog_thread_.join();
}

void RankWatch::report(const std::string& cause) {
  std::unique_lock lock(state_->mutex);
  state_->is_ending = true;
  state_->to_report = concat("rank ", state_->info.rank, " has ended: ", cause);
  state_->changed.notify_all();
  state_->changed.wait_for(lock, kReportTimeout, [&] { return state_->to_report.empty() || state_->has_signed_off; });
}

std::string RankWatch::explain_loss() {
  std::unique_lock lock(state_->mutex);
  state_->alarm = true;
  state_->changed.notify_all();
  state_->changed.wait_for(lock, kExplainTimeout, [&] { return !state_->lost.empty(); });
  state_->is_ending = true;
  return state_->lost;
}

}  // namespace minimind::detail
