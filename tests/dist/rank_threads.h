#pragma once

#include <ATen/DeviceAccelerator.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <exception>
#include <functional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "dist/process_group.h"
#include "minimind/base/error.h"

namespace minimind::testing {

/// The framework keeps one log of collectives for a whole process ("flight recorder") and adds a group to it without a
/// lock: two groups that start in two threads corrupt it. It is built for a rank a process; with ranks in threads it
/// must be off before the first collective.
inline void switch_flight_recorder_off() {
  ::setenv("TORCH_FR_BUFFER_SIZE", "0", /*overwrite=*/1);
}

/// A port of the loopback that was free a moment ago.
inline int free_port() {
  const int descriptor = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  const bool bound = ::bind(descriptor, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
                     ::getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  ::close(descriptor);
  return bound ? ntohs(address.sin_port) : 0;
}

inline RankInfo loopback_rank(int64_t rank, int64_t world_size, int port) {
  RankInfo info;
  info.rank = rank;
  info.world_size = world_size;
  info.local_rank = rank;
  info.master_address = "127.0.0.1";
  info.master_port = port;
  info.store_prefix = "test";
  return info;
}

/// Where the tensors of run_ranks() lie: MINIMIND_TEST_DEVICE=cuda gives each rank the GPU of its number, which is
/// current in its thread; else the CPU.
inline c10::DeviceType rank_device_type() {
  const char* name = std::getenv("MINIMIND_TEST_DEVICE");
  return name != nullptr && std::string_view(name) == "cuda" ? c10::kCUDA : c10::kCPU;
}

inline c10::Device device_of_rank(int64_t rank) {
  if (rank_device_type() == c10::kCPU) {
    return c10::kCPU;
  }
  const auto index = static_cast<c10::DeviceIndex>(rank);
  at::accelerator::setDeviceIndex(index);
  return {c10::kCUDA, index};
}

/// Runs `body` as each rank of a group over the loopback, in threads of this process, and rethrows what one threw.
/// `served_port`: of a store that is served there; 0: rank 0 serves one.
inline void run_ranks(int64_t world_size, const std::function<void(ProcessGroup&)>& body, int served_port = 0) {
  switch_flight_recorder_off();
  const int port = served_port != 0 ? served_port : free_port();
  std::vector<std::thread> threads;
  std::vector<std::exception_ptr> errors(static_cast<size_t>(world_size));
  for (int64_t rank = 0; rank < world_size; ++rank) {
    threads.emplace_back([&, rank] {
      try {
        RankInfo info = loopback_rank(rank, world_size, port);
        info.store_is_served = served_port != 0;
        ProcessGroup group(info, device_of_rank(rank), std::chrono::seconds(60));
        body(group);
      } catch (...) {
        errors[static_cast<size_t>(rank)] = std::current_exception();
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  for (const std::exception_ptr& error : errors) {
    if (error) {
      std::rethrow_exception(error);
    }
  }
}

}  // namespace minimind::testing
