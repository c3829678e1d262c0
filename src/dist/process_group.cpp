#include "dist/process_group.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <arpa/inet.h>
#include <c10/core/GradMode.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <torch/csrc/distributed/c10d/Types.hpp>
#include <utility>

#include "dist/process_group_backend.h"
#include "dist/rendezvous.h"
#include "minimind/base/error.h"

namespace minimind {
namespace {

using Clock = std::chrono::steady_clock;

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
  const int descriptor = socket(found->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_storage own{};
  socklen_t size = sizeof(own);
  if (descriptor >= 0 && connect(descriptor, found->ai_addr, found->ai_addrlen) == 0 &&
      getsockname(descriptor, reinterpret_cast<sockaddr*>(&own), &size) == 0) {
    char text[NI_MAXHOST] = {};
    if (getnameinfo(reinterpret_cast<sockaddr*>(&own), size, text, sizeof(text), nullptr, 0, NI_NUMERICHOST) == 0) {
      address = text;
    }
  }
  if (descriptor >= 0) {
    close(descriptor);
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

void make_backends(ProcessGroupBackend& backend, const RankInfo& info, const c10::Device& device,
                   std::chrono::milliseconds patience, std::chrono::milliseconds timeout) {
  const auto store = [&](const char* name) {
    return c10::make_intrusive<c10d::PrefixStore>(name, backend.attempt_store);
  };
  const int rank = static_cast<int>(info.rank), size = static_cast<int>(info.world_size);
  auto options = c10d::ProcessGroupGloo::Options::create();
  options->timeout = patience;
  options->threads = 2;
  options->devices.push_back(gloo_device(info));
  backend.cpu = c10::make_intrusive<c10d::ProcessGroupGloo>(store("gloo"), rank, size, options);
  backend.cpu->setTimeout(timeout);
  backend.group = c10::make_intrusive<c10d::ProcessGroup>(backend.attempt_store, rank, size);
  backend.group->setBackend(c10::DeviceType::CPU, c10d::ProcessGroup::BackendType::GLOO, backend.cpu);
  backend.group->setDefaultBackend(c10d::ProcessGroup::BackendType::GLOO);
#ifdef USE_C10D_NCCL
  if (device.is_cuda()) {
    auto nccl = c10d::ProcessGroupNCCL::Options::create();
    nccl->timeout = timeout;
    backend.cuda = c10::make_intrusive<c10d::ProcessGroupNCCL>(store("nccl"), rank, size, nccl);
    backend.group->setBackend(c10::DeviceType::CUDA, c10d::ProcessGroup::BackendType::NCCL, backend.cuda);
  }
#endif
  static_cast<void>(device);
}

/// Runs a collective and adds its time to `seconds`.
template <class Work>
void timed_collective(const RankInfo& info, detail::RankWatch* watch, double& seconds, const Work& work) {
  const Clock::time_point start = Clock::now();
  detail::run_collective(info, watch, work);
  seconds += std::chrono::duration<double>(Clock::now() - start).count();
}

/// A connection to the store, with the prefix of the run.
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

at::Tensor bytes_of(std::string& text) {
  return at::from_blob(text.data(), {static_cast<int64_t>(text.size())}, at::TensorOptions(at::kByte));
}

}  // namespace

ProcessGroup::ProcessGroup(const RankInfo& info, c10::Device device, std::chrono::seconds timeout) : info_(info) {
  if (info.world_size <= 1 && !info.store_is_served) {
    return;
  }
  constexpr std::chrono::seconds kRendezvousTime{300};
  const std::chrono::seconds patience = std::min(timeout, kRendezvousTime);
  backend_ = std::make_unique<ProcessGroupBackend>();
  timed_collective(info_, nullptr, reduce_wait_seconds_, [&] {
    const auto store = open_store(info, !info.store_is_served && info.rank == 0, patience);
    backend_->run_store = store;
    run_id_ = info.rank == 0 ? detail::claim_run_id(*store) : "";
    if (info.world_size > 1) {
      detail::Rendezvous rendezvous(store, info);
      rendezvous.wait_for_all(patience);
      const std::string attempt = rendezvous.prefix();
      backend_->attempt_store = c10::make_intrusive<c10d::PrefixStore>(attempt, store);
      backend_->watch = std::make_unique<detail::RankWatch>(
          info, c10::make_intrusive<c10d::PrefixStore>(attempt + "/watch", open_store(info, false, patience)));
    }
  });
  if (info.world_size > 1) {
    timed_collective(info_, backend_->watch.get(), reduce_wait_seconds_,
                     [&] { make_backends(*backend_, info, device, patience, timeout); });
  }
}

ProcessGroup::~ProcessGroup() {
  if (backend_) {
    // The watch last: it ends the process if closing the connections to a lost rank hangs.
    backend_->group.reset();
    backend_->cpu.reset();
#ifdef USE_C10D_NCCL
    backend_->cuda.reset();
#endif
    backend_->watch.reset();
  }
}

void ProcessGroup::end_run() {
  if (backend_ && is_main()) {
    detail::run_collective(info_, backend_->watch.get(), [&] { detail::release_run_id(*backend_->run_store); });
  }
}

template <class Number>
void ProcessGroup::sum_numbers(const std::vector<Number*>& numbers) {
  if (world_size() == 1) {
    return;
  }
  std::vector<at::Tensor> packed = {
      at::empty({std::ssize(numbers)}, at::TensorOptions(c10::CppTypeToScalarType<Number>::value))};
  Number* data = packed[0].mutable_data_ptr<Number>();
  std::transform(numbers.begin(), numbers.end(), data, [](const Number* number) { return *number; });
  timed_collective(info_, backend_->watch.get(), reduce_wait_seconds_,
                   [&] { backend_->cpu->allreduce(packed)->wait(); });
  for (Number* number : numbers) {
    *number = *data++;
  }
}

void ProcessGroup::sum(const std::vector<int64_t*>& numbers) {
  sum_numbers(numbers);
}

void ProcessGroup::sum(const std::vector<double*>& numbers) {
  sum_numbers(numbers);
}

int64_t ProcessGroup::sum(int64_t number) {
  sum_numbers<int64_t>({&number});
  return number;
}

double ProcessGroup::sum(double number) {
  sum_numbers<double>({&number});
  return number;
}

void ProcessGroup::broadcast_(const std::vector<at::Tensor>& tensors) {
  if (world_size() == 1) {
    return;
  }
  const c10::NoGradGuard no_grad;
  timed_collective(info_, backend_->watch.get(), reduce_wait_seconds_, [&] {
    for (const at::Tensor& tensor : tensors) {
      std::vector<at::Tensor> packed = {tensor.detach().contiguous()};
      backend_->of(tensor.device()).broadcast(packed)->wait();
      if (!packed[0].is_alias_of(tensor)) {
        tensor.detach().copy_(packed[0]);
      }
    }
  });
}

std::string ProcessGroup::broadcast(const std::string& text) {
  std::string result = text;
  result.resize(static_cast<size_t>(sum(is_main() ? std::ssize(text) : int64_t{0})));
  if (!result.empty()) {
    broadcast_({bytes_of(result)});
  }
  return result;
}

std::vector<std::string> ProcessGroup::gather(const std::string& text) {
  std::vector<int64_t> sizes(static_cast<size_t>(world_size()));
  sizes[static_cast<size_t>(rank())] = std::ssize(text);
  std::vector<int64_t*> numbers;
  for (int64_t& size : sizes) {
    numbers.push_back(&size);
  }
  sum(numbers);
  std::string padded = text;
  padded.resize(static_cast<size_t>(std::ranges::max(sizes)));
  std::vector<std::string> texts(sizes.size(), padded);
  if (world_size() == 1 || padded.empty()) {
    return texts;
  }
  std::vector<at::Tensor> sent = {bytes_of(padded)};
  std::vector<std::vector<at::Tensor>> received(1);
  for (std::string& received_text : texts) {
    received[0].push_back(bytes_of(received_text));
  }
  timed_collective(info_, backend_->watch.get(), reduce_wait_seconds_,
                   [&] { backend_->cpu->allgather(received, sent)->wait(); });
  for (size_t sender = 0; sender < texts.size(); ++sender) {
    texts[sender].resize(static_cast<size_t>(sizes[sender]));
  }
  return texts;
}

void ProcessGroup::report_failure(const std::string& cause) {
  if (world_size() > 1) {
    backend_->watch->report(cause);
  }
}

void ProcessGroup::barrier() {
  sum(int64_t{1});
}

}  // namespace minimind
