#include "base/cpu_watch.h"

#include <dlfcn.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <optional>
#include <sstream>
#include <system_error>
#include <utility>

#include "base/cpu_quota.h"

namespace minimind {

namespace {

constexpr std::chrono::milliseconds kInterval{200};  // 20 ticks of /proc/stat
// Contention begins with these shares: of the threads' time in which they had no CPU, of the CPUs' time that others
// use.
constexpr double kWaitedShare = 0.20;
constexpr double kOthersShare = 0.15;
constexpr double kBusySeconds = 0.1;  // a process that runs for a moment now and then has a share of nothing
// It ends after some moments with these shares of the CPUs' time.
constexpr double kFewOthersShare = 0.10;
constexpr double kIdleShare = 0.10;
constexpr int kFreeMoments = 2;
// Processes of a low priority use what sleeping threads leave. Only a moment of spinning shows that they give way.
constexpr int kMomentsBeforeTrial = 15;

/// A thread whose signals go to the other threads. Not joinable if the system refuses a thread.
std::thread quiet_thread(std::function<void()> work) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread;
  try {
    thread = std::thread(std::move(work));
  } catch (const std::system_error&) {
    // At the limit of threads: go on without.
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

std::vector<int> own_cpus() {
  std::vector<int> cpus;
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) {
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(static_cast<size_t>(cpu), &set)) {
        cpus.push_back(cpu);
      }
    }
  }
  return cpus;
}

/// Adds up the time in which the threads of this process could run, but had no CPU. Threads come and go, so the sum of
/// their counters would fall.
class WaitedTime {
 public:
  /// The seconds so far. 0 on a kernel that does not count them.
  double seconds() {
    std::map<std::string, double> now;
    std::error_code error;
    for (const auto& task : std::filesystem::directory_iterator("/proc/self/task", error)) {
      double ran = 0, waited = 0;
      if (std::ifstream(task.path() / "schedstat") >> ran >> waited) {
        const std::string& thread = task.path().native();
        total_ += std::max(0.0, waited - before_[thread]) * 1e-9;
        now[thread] = waited;
      }
    }
    before_ = std::move(now);
    return total_;
  }

 private:
  std::map<std::string, double> before_;
  double total_ = 0;
};

CpuTimes current_times(const std::vector<int>& cpus, WaitedTime& waited) {
  CpuTimes times;
  std::ifstream file("/proc/stat");
  add_cpu_times(std::string(std::istreambuf_iterator<char>(file), {}), cpus, times);
  timespec own{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &own);
  times.own = static_cast<double>(own.tv_sec) + 1e-9 * static_cast<double>(own.tv_nsec);
  times.waited = waited.seconds();
  return times;
}

using ParallelFunction = void (*)(void (*)(void*), void*, unsigned, unsigned);

/// libgomp's function of a parallel region; null where another OpenMP runtime, or none, is in the process.
ParallelFunction parallel_function() {
  return reinterpret_cast<ParallelFunction>(dlsym(RTLD_DEFAULT, "GOMP_parallel"));
}

}  // namespace

void add_cpu_times(std::string_view stat, const std::vector<int>& cpus, CpuTimes& times) {
  const double tick = 1.0 / static_cast<double>(sysconf(_SC_CLK_TCK));
  std::istringstream lines{std::string(stat)};
  for (std::string line; std::getline(lines, line) && line.starts_with("cpu");) {
    std::istringstream words(line.substr(3));
    int cpu = -1;
    if (line.starts_with("cpu ") || !(words >> cpu) || std::ranges::find(cpus, cpu) == cpus.end()) {
      continue;
    }
    // user, nice, system, idle, iowait, irq, softirq, steal; guests are part of user.
    constexpr int kFields = 8, kIdle = 3, kIoWait = 4;
    double value = 0;
    for (int field = 0; field < kFields && words >> value; ++field) {
      times.total += value * tick;
      times.idle += field == kIdle || field == kIoWait ? value * tick : 0;
    }
  }
}

bool ContentionJudge::judge(const CpuTimes& now) {
  const CpuTimes before = last_;
  last_ = now;
  const double total = now.total - before.total, idle = now.idle - before.idle, own = now.own - before.own;
  const double waited = now.waited - before.waited, others = total - idle - own;
  if (total <= 0 || before.total <= 0) {
    return is_contended_;
  }
  if (!is_contended_) {
    const bool is_busy = own + waited >= kBusySeconds;
    is_contended_ = is_busy && others >= kOthersShare * total && waited >= kWaitedShare * (own + waited);
    moments_ = free_moments_ = 0;
    return is_contended_;
  }
  const bool is_free = others < kFewOthersShare * total || idle >= kIdleShare * total;
  free_moments_ = is_free ? free_moments_ + 1 : 0;
  is_contended_ = free_moments_ < kFreeMoments && ++moments_ < kMomentsBeforeTrial;
  return is_contended_;
}

ShortSpins::ShortSpins() {
  if (parallel_function() == nullptr) {
    return;
  }
  thread_ = quiet_thread([this] { run(); });
  if (thread_.joinable()) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return is_ready_; });
  }
}

ShortSpins::~ShortSpins() {
  {
    const std::lock_guard lock(mutex_);
    is_over_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) {
    thread_.join();
  }
}

void ShortSpins::run() {
  // One thread more than CPUs. The team of this thread counts as long as this thread lives.
  parallel_function()([](void*) {}, nullptr, static_cast<unsigned>(usable_cpus() + 1), 0);
  std::unique_lock lock(mutex_);
  is_ready_ = true;
  changed_.notify_all();
  changed_.wait(lock, [this] { return is_over_; });
}

CpuWatch::CpuWatch() {
  if (std::getenv("OMP_WAIT_POLICY") == nullptr && std::getenv("GOMP_SPINCOUNT") == nullptr) {
    thread_ = quiet_thread([this] { run(); });
  }
}

CpuWatch::~CpuWatch() {
  {
    const std::lock_guard lock(mutex_);
    is_over_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) {
    thread_.join();
  }
}

void CpuWatch::run() {
  const std::vector<int> cpus = own_cpus();
  WaitedTime waited;
  ContentionJudge judge;
  std::optional<ShortSpins> short_spins;
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, kInterval, [this] { return is_over_; })) {
    const bool is_contended = judge.judge(current_times(cpus, waited));
    if (is_contended && !short_spins) {
      short_spins.emplace();
    } else if (!is_contended) {
      short_spins.reset();
    }
    is_contended_ = is_contended;
  }
}

}  // namespace minimind
