#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string_view>
#include <thread>
#include <vector>

namespace minimind {

/// How the CPUs of this process were used up to a moment, in seconds.
struct CpuTimes {
  double total = 0;   ///< of all its CPUs: busy and idle
  double idle = 0;    ///< of all its CPUs
  double own = 0;     ///< in which its threads ran
  double waited = 0;  ///< in which its threads could run, but had no CPU
};

/// Adds the seconds of the CPUs `cpus` in the text of /proc/stat to `times.total` and `times.idle`.
void add_cpu_times(std::string_view stat, const std::vector<int>& cpus, CpuTimes& times);

/// Decides from CpuTimes of equally distant moments whether other processes want the CPUs of this one.
class ContentionJudge {
 public:
  /// Contention begins where this process's threads wait for a CPU while others run. It ends after two moments in which
  /// the others are gone or a CPU is idle, and for a trial after fifteen.
  bool judge(const CpuTimes& now);

 private:
  CpuTimes last_;
  bool is_contended_ = false;
  int moments_ = 0;
  int free_moments_ = 0;
};

/// While it lives, the threads of libgomp, which LibTorch uses, wait for each other only for a moment before they
/// sleep. libgomp does so if it has more threads than CPUs, and this object keeps sleeping threads in it.
class ShortSpins {
 public:
  ShortSpins();  ///< without libgomp nothing happens
  ~ShortSpins();
  ShortSpins(const ShortSpins&) = delete;
  ShortSpins& operator=(const ShortSpins&) = delete;

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_ready_ = false;
  bool is_over_ = false;
  std::thread thread_;
};

/// For programs, not for a library inside another program: watches five times a second who uses the CPUs. libgomp's
/// threads spin for milliseconds while they wait for each other. On an idle machine this is fastest: sleeping would
/// cost half of the speed. Beside other busy processes they would spin away the time that their own work needs: then
/// ShortSpins rules. Does nothing if the user has set OMP_WAIT_POLICY or GOMP_SPINCOUNT. Its thread takes no signals.
class CpuWatch {
 public:
  CpuWatch();
  ~CpuWatch();
  CpuWatch(const CpuWatch&) = delete;
  CpuWatch& operator=(const CpuWatch&) = delete;

  bool is_watching() const { return thread_.joinable(); }
  /// Whether ShortSpins rules now.
  bool is_contended() const { return is_contended_; }

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_over_ = false;
  std::atomic<bool> is_contended_{false};
  std::thread thread_;
};

}  // namespace minimind
