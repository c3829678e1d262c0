#include "dist/local_launcher.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string_view>

#include "base/cpu_quota.h"
#include "base/file_descriptor.h"
#include "minimind/base/error.h"
#include "minimind/base/file.h"
#include "minimind/base/log.h"

extern char** environ;

namespace minimind {

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds kTimeForLastWords{5};
constexpr std::chrono::milliseconds kPoll{100};
constexpr int kSignalBase = 128;     // shells report 128 + N for signal N
constexpr int kCannotStart = 127;    // and 127 for a program that cannot be started
constexpr size_t kLastWords = 4000;  // bytes of a failed rank's standard error

[[noreturn]] void fail(std::string_view what) {
  throw Error(concat("--processes: cannot ", what, ": ", std::strerror(errno)));
}

/// A port of the loopback device that was free a moment ago.
int64_t free_port() {
  const FileDescriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (socket.get() < 0 || bind(socket.get(), generic, size) != 0 || getsockname(socket.get(), generic, &size) != 0) {
    fail("find a free port");
  }
  return ntohs(address.sin_port);
}

/// The environment of a rank: this process's without the variables of an outer launcher, and the rank's own.
std::vector<std::string> rank_environment(int64_t rank, int64_t processes, int64_t port) {
  std::vector<std::string> own = {concat("RANK=", rank),
                                  concat("LOCAL_RANK=", rank),
                                  concat("WORLD_SIZE=", processes),
                                  concat("LOCAL_WORLD_SIZE=", processes),
                                  "MASTER_ADDR=127.0.0.1",
                                  concat("MASTER_PORT=", port)};
  if (std::getenv("OMP_NUM_THREADS") == nullptr) {
    own.push_back(concat("OMP_NUM_THREADS=", std::max<int64_t>(1, default_threads() / processes)));
  }
  std::vector<std::string> all = own;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const std::string_view name = text.substr(0, text.find('=') + 1);
    const bool is_replaced = std::ranges::any_of(own, [&](const std::string& one) { return one.starts_with(name); });
    if (!is_replaced && !name.starts_with("TORCHELASTIC_")) {
      all.emplace_back(text);
    }
  }
  return all;
}

std::vector<char*> pointers_to(const std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  pointers.reserve(texts.size() + 1);
  for (const std::string& text : texts) {
    pointers.push_back(const_cast<char*>(text.c_str()));
  }
  pointers.push_back(nullptr);
  return pointers;
}

/// One rank's process.
struct LocalRank {
  pid_t pid = -1;
  FileDescriptor words;  ///< its standard error; closed: it has this process's
  std::optional<int> code;
};

/// What the child does between fork and exec: system calls alone.
[[noreturn]] void become_rank(const LocalRank& rank, pid_t parent, const sigset_t& mask, char* const* command,
                              char* const* environment) {
  // A process group of its own: the terminal's Ctrl-C reaches the launcher alone, which passes it on once.
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) {
    _exit(kCannotStart);
  }
  if (rank.words.get() >= 0) {
    const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    dup2(nowhere, STDOUT_FILENO);
    dup2(rank.words.get(), STDERR_FILENO);
  }
  sigprocmask(SIG_SETMASK, &mask, nullptr);
  execve(command[0], command, environment);
  _exit(kCannotStart);
}

/// The ranks of a run; the destructor kills those that still run.
class LocalRanks {
 public:
  LocalRanks(int64_t processes, const std::vector<std::string>& command) : ranks_(static_cast<size_t>(processes)) {
    sigemptyset(&signals_);
    for (const int signal : {SIGCHLD, SIGINT, SIGTERM, SIGHUP}) {
      sigaddset(&signals_, signal);
    }
    // Blocked signals wait for sigtimedwait(), so that none is lost between two looks.
    pthread_sigmask(SIG_BLOCK, &signals_, &former_mask_);
    try {
      start(command);
    } catch (...) {
      end();
      throw;
    }
  }
  ~LocalRanks() { end(); }
  LocalRanks(const LocalRanks&) = delete;
  LocalRanks& operator=(const LocalRanks&) = delete;

  int wait() {
    while (running() > 0) {
      const timespec limit{0, std::chrono::nanoseconds(kPoll).count()};
      const int signal = sigtimedwait(&signals_, nullptr, &limit);
      if (signal > 0 && signal != SIGCHLD) {
        send(signal);
      }
      reap();
      if (deadline_ && Clock::now() > *deadline_) {
        send(SIGKILL);
      }
    }
    return failed_code_.value_or(stopped_code_);
  }

 private:
  void start(const std::vector<std::string>& command) {
    const int64_t port = free_port();
    const pid_t parent = getpid();
    std::vector<std::string> words = command;
    const std::vector<char*> arguments = pointers_to(words);
    for (size_t i = 0; i < ranks_.size(); ++i) {
      LocalRank& rank = ranks_[i];
      if (i > 0) {
        rank.words = FileDescriptor(memfd_create("words", MFD_CLOEXEC));
        if (rank.words.get() < 0) {
          fail("keep the output of a rank");
        }
      }
      const std::vector<std::string> texts =
          rank_environment(static_cast<int64_t>(i), static_cast<int64_t>(ranks_.size()), port);
      const std::vector<char*> environment = pointers_to(texts);
      rank.pid = fork();
      if (rank.pid == 0) {
        become_rank(rank, parent, former_mask_, arguments.data(), environment.data());
      }
      if (rank.pid < 0) {
        fail("start a process");
      }
      setpgid(rank.pid, rank.pid);  // here too: the group must exist before the first signal
    }
  }

  int64_t running() const {
    return std::ranges::count_if(ranks_, [](const LocalRank& rank) { return rank.pid > 0 && !rank.code; });
  }

  /// SIGKILL goes to all processes of a rank's group, other signals to the rank.
  void send(int signal) const {
    for (const LocalRank& rank : ranks_) {
      if (rank.pid > 0 && !rank.code) {
        kill(signal == SIGKILL ? -rank.pid : rank.pid, signal);
      }
    }
  }

  void reap() {
    for (size_t i = 0; i < ranks_.size(); ++i) {
      LocalRank& rank = ranks_[i];
      int status = 0;
      if (rank.code || waitpid(rank.pid, &status, WNOHANG) != rank.pid) {
        continue;
      }
      rank.code = WIFSIGNALED(status) ? kSignalBase + WTERMSIG(status) : WEXITSTATUS(status);
      const bool is_stopped =
          !WIFSIGNALED(status) && (*rank.code == kSignalBase + SIGINT || *rank.code == kSignalBase + SIGTERM);
      if (is_stopped) {
        stopped_code_ = stopped_code_ != 0 ? stopped_code_ : *rank.code;
      } else if (*rank.code != 0 && !failed_code_) {
        failed_code_ = *rank.code;
        deadline_ = Clock::now() + kTimeForLastWords;
        report(i, status);
      }
    }
  }

  void report(size_t i, int status) const {
    const std::string end =
        WIFSIGNALED(status) ? concat("was killed by signal ", WTERMSIG(status), " (", strsignal(WTERMSIG(status)), ")")
                            : concat("ended with exit code ", WEXITSTATUS(status));
    const std::string words = last_words(ranks_[i]);
    log_warning(concat("--processes: rank ", i, " of ", ranks_.size(), " (process ", ranks_[i].pid, ") ", end,
                       "; the other ranks end too", words.empty() ? "" : concat("; its last lines:\n", words)));
  }

  static std::string last_words(const LocalRank& rank) {
    if (rank.words.get() < 0) {
      return "";
    }
    const off_t size = lseek(rank.words.get(), 0, SEEK_END);
    std::string text(std::min<size_t>(kLastWords, static_cast<size_t>(std::max<off_t>(0, size))), '\0');
    const ssize_t got = pread(rank.words.get(), text.data(), text.size(), size - static_cast<off_t>(text.size()));
    text.resize(static_cast<size_t>(std::max<ssize_t>(0, got)));
    if (static_cast<size_t>(size) > text.size()) {
      text.erase(0, text.find('\n') + 1);  // the first line is cut
    }
    while (text.ends_with('\n')) {
      text.pop_back();
    }
    return text;
  }

  void end() {
    send(SIGKILL);
    for (const LocalRank& rank : ranks_) {
      if (rank.pid > 0 && !rank.code) {
        waitpid(rank.pid, nullptr, 0);
      }
    }
    pthread_sigmask(SIG_SETMASK, &former_mask_, nullptr);
  }

  std::vector<LocalRank> ranks_;
  sigset_t signals_{};
  sigset_t former_mask_{};
  std::optional<int> failed_code_;
  int stopped_code_ = 0;
  std::optional<Clock::time_point> deadline_;
};

}  // namespace

bool starts_local_ranks(int64_t processes, const RankInfo& info) {
  require(processes == 1 || info.world_size == 1 || info.world_size == processes, "--processes ", processes,
          ": expected no other launcher, found one with ", info.world_size, " processes; leave the flag out");
  return processes > 1 && info.world_size == 1;
}

std::vector<std::string> own_command() {
  std::vector<std::string> command = {std::filesystem::read_symlink("/proc/self/exe").string()};
  const std::string line = read_file("/proc/self/cmdline");
  for (size_t begin = line.find('\0') + 1; begin < line.size();) {
    const size_t end = line.find('\0', begin);
    command.push_back(line.substr(begin, end - begin));
    begin = end + 1;
  }
  return command;
}

int run_local_ranks(int64_t processes, const std::vector<std::string>& command) {
  LocalRanks ranks(processes, command);
  return ranks.wait();
}

}  // namespace minimind
