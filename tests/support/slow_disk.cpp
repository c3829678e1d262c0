// Preloaded into a program: syncing a checkpoint takes MINIMIND_SLOW_DISK_MS milliseconds longer, as on a slow disk.
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

extern "C" int fsync(int descriptor) {
  char link[64], path[4096] = {};
  std::snprintf(link, sizeof(link), "/proc/self/fd/%d", descriptor);
  const char* delay = std::getenv("MINIMIND_SLOW_DISK_MS");
  const bool is_checkpoint = ::readlink(link, path, sizeof(path) - 1) > 0 && std::strstr(path, ".safetensors.tmp.");
  if (is_checkpoint && delay != nullptr) {
    ::usleep(1000 * static_cast<useconds_t>(std::atoi(delay)));
  }
  return static_cast<int>(::syscall(SYS_fsync, descriptor));
}
