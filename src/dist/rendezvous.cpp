#include "dist/rendezvous.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <random>
#include <stdexcept>
#include <thread>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <utility>

#include "base/file_descriptor.h"
#include "base/stopwatch.h"
#include "dist/device_backend.h"
#include "minimind/base/error.h"
#include "minimind/base/log.h"

namespace minimind::detail {
namespace {

constexpr const char* kAttempts = "attempts";
constexpr std::chrono::milliseconds kPollInterval{20};
constexpr double kQuietTime = 10;  // seconds before the log names the missing rank

std::string join_key(int64_t rank) {
  return concat("join/", rank);
}

std::string ack_key(const std::string& nonce) {
  return concat("ack/", nonce);
}

/// The address of this host on the way to the master, which the other hosts reach too. Hosts with equal names
/// (containers, network namespaces) would resolve the name to the same address.
std::string address_towards(const std::string& host, int64_t port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found) != 0 || found == nullptr) {
    return {};
  }
  std::string address;
  const FileDescriptor descriptor(socket(found->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_storage own{};
  socklen_t size = sizeof(own);
  if (connect(descriptor.get(), found->ai_addr, found->ai_addrlen) == 0 &&
      getsockname(descriptor.get(), reinterpret_cast<sockaddr*>(&own), &size) == 0) {
    char text[NI_MAXHOST] = {};
    if (getnameinfo(reinterpret_cast<sockaddr*>(&own), size, text, sizeof(text), nullptr, 0, NI_NUMERICHOST) == 0) {
      address = text;
    }
  }
  freeaddrinfo(found);
  return address;
}

std::shared_ptr<::gloo::transport::Device> gloo_device(const RankInfo& info) {
  if (const char* interface = std::getenv("GLOO_SOCKET_IFNAME"); interface != nullptr && *interface != '\0') {
    return c10d::ProcessGroupGloo::createDeviceForInterface(interface);
  }
  const std::string address = address_towards(info.master_address, info.master_port);
  return address.empty() ? c10d::ProcessGroupGloo::createDefaultDevice()
                         : c10d::ProcessGroupGloo::createDeviceForHostname(address);
}

}  // namespace

c10::intrusive_ptr<c10d::Store> open_store(const RankInfo& info, bool serves, std::chrono::milliseconds timeout) {
  c10d::TCPStoreOptions options;
  options.port = static_cast<uint16_t>(info.master_port);
  options.isServer = serves;
  options.numWorkers = static_cast<std::size_t>(info.world_size);
  options.waitWorkers = false;
  options.timeout = timeout;
  return c10::make_intrusive<c10d::PrefixStore>(info.store_prefix,
                                                c10::make_intrusive<c10d::TCPStore>(info.master_address, options));
}

std::string make_nonce() {
  std::random_device device;
  return concat(::getpid(), "-", device(), "-", device());
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
  const Stopwatch waited;
  bool is_logged = info_.rank != 0;
  while (const std::optional<int64_t> missing = missing_rank()) {
    require(waited.seconds() < static_cast<double>(patience.count()), "rank ", info_.rank, " of ", info_.world_size,
            ": expected all ranks within ", patience.count(), " s, found that rank ", *missing,
            " is missing; start every process with the same address and number of ranks");
    if (!is_logged && waited.seconds() > kQuietTime) {
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

void Connections::open_backends(const RankInfo& info, const c10::Device& device, std::chrono::milliseconds patience,
                                std::chrono::milliseconds timeout) {
  const auto store = [&](const char* name) { return c10::make_intrusive<c10d::PrefixStore>(name, attempt_store); };
  const int rank = static_cast<int>(info.rank), size = static_cast<int>(info.world_size);
  auto options = c10d::ProcessGroupGloo::Options::create();
  options->timeout = patience;
  options->threads = 2;
  options->devices.push_back(gloo_device(info));
  cpu = c10::make_intrusive<c10d::ProcessGroupGloo>(store("gloo"), rank, size, options);
  cpu->setTimeout(timeout);
  group = c10::make_intrusive<c10d::ProcessGroup>(attempt_store, rank, size);
  group->setBackend(c10::DeviceType::CPU, c10d::ProcessGroup::BackendType::GLOO, cpu);
  group->setDefaultBackend(c10d::ProcessGroup::BackendType::GLOO);
  if (!device.is_cpu()) {
    gpu = make_device_backend({store("nccl"), rank, size, device, timeout});
    group->setBackend(device.type(), c10d::ProcessGroup::BackendType::NCCL, gpu);
  }
}

void Connections::close() {
  const bool has_failed = std::uncaught_exceptions() > exceptions_before;
  if (watch && has_failed) {
    // Before the connections close: the other ranks then look for the cause.
    watch->report("an error; see the message of that rank");
  }
  if (gpu) {
    close_device_backend(*gpu, has_failed);
  }
}

c10d::Backend& Connections::of(const c10::Device& device) const {
  if (!device.is_cpu() && gpu) {
    return *gpu;
  }
  if (!device.is_cpu()) {
    throw std::logic_error("collective on " + device.str() + ": this process group has no backend for this device");
  }
  return *cpu;
}

}  // namespace minimind::detail
