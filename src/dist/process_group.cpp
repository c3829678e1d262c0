#include "minimind/dist/process_group.h"

#include <ATen/ops/from_blob.h>
#include <ATen/ops/tensor.h>
#include <arpa/inet.h>
#include <c10/core/GradMode.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <functional>
#include <string>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <torch/csrc/distributed/c10d/Types.hpp>
#include <utility>

#include "dist/detail/backend.h"
#include "minimind/base/error.h"

namespace minimind {
namespace {

using Clock = std::chrono::steady_clock;

/// The address of this host on the way to the master: it is one that the other hosts reach too. Hosts that share a name
/// (containers, network namespaces) would resolve that name to the same address.
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

}  // namespace

namespace {

/// Puts the backends under one roof.
void join(ProcessGroup::Backend& backend, const RankInfo& info) {
  backend.group = c10::make_intrusive<c10d::ProcessGroup>(backend.store, static_cast<int>(info.rank),
                                                          static_cast<int>(info.world_size));
  backend.group->setBackend(c10::DeviceType::CPU, c10d::ProcessGroup::BackendType::GLOO, backend.cpu);
  backend.group->setDefaultBackend(c10d::ProcessGroup::BackendType::GLOO);
#ifdef USE_C10D_NCCL
  if (backend.cuda) {
    backend.group->setBackend(c10::DeviceType::CUDA, c10d::ProcessGroup::BackendType::NCCL, backend.cuda);
  }
#endif
}

/// Runs a collective and counts the time.
template <class Work>
void timed_collective(const RankInfo& info, double& waited, const Work& work) {
  const Clock::time_point start = Clock::now();
  detail::run_collective(info, work);
  waited += std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

ProcessGroup::ProcessGroup(const RankInfo& info, c10::Device device, std::chrono::seconds timeout) : info_(info) {
  if (info.world_size <= 1) {
    return;
  }
  backend_ = std::make_unique<Backend>();
  const auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(timeout);
  timed_collective(info_, waited_seconds_, [&] {
    c10d::TCPStoreOptions store_options;
    store_options.port = static_cast<uint16_t>(info.master_port);
    store_options.isServer = !info.store_is_served && info.rank == 0;
    store_options.numWorkers = static_cast<std::size_t>(info.world_size);
    store_options.waitWorkers = false;
    store_options.timeout = milliseconds;
    const auto tcp = c10::make_intrusive<c10d::TCPStore>(info.master_address, store_options);
    backend_->store = c10::make_intrusive<c10d::PrefixStore>(info.store_prefix, tcp);
    auto options = c10d::ProcessGroupGloo::Options::create();
    options->timeout = milliseconds;
    options->threads = 2;
    options->devices.push_back(gloo_device(info));
    backend_->cpu = c10::make_intrusive<c10d::ProcessGroupGloo>(
        c10::make_intrusive<c10d::PrefixStore>("gloo", backend_->store), static_cast<int>(info.rank),
        static_cast<int>(info.world_size), options);
#ifdef USE_C10D_NCCL
    if (device.is_cuda()) {
      auto nccl = c10d::ProcessGroupNCCL::Options::create();
      nccl->timeout = milliseconds;
      backend_->cuda = c10::make_intrusive<c10d::ProcessGroupNCCL>(
          c10::make_intrusive<c10d::PrefixStore>("nccl", backend_->store), static_cast<int>(info.rank),
          static_cast<int>(info.world_size), nccl);
    }
#endif
    join(*backend_, info);
  });
  (void)device;
}

ProcessGroup::~ProcessGroup() = default;

std::vector<int64_t> ProcessGroup::sum(const std::vector<int64_t>& values) {
  if (!backend_) {
    return values;
  }
  std::vector<at::Tensor> packed = {at::tensor(values, at::kLong)};
  timed_collective(info_, waited_seconds_, [&] { backend_->cpu->allreduce(packed)->wait(); });
  const int64_t* data = packed[0].const_data_ptr<int64_t>();
  return {data, data + values.size()};
}

std::vector<double> ProcessGroup::sum(const std::vector<double>& values) {
  if (!backend_) {
    return values;
  }
  std::vector<at::Tensor> packed = {at::tensor(values, at::kDouble)};
  timed_collective(info_, waited_seconds_, [&] { backend_->cpu->allreduce(packed)->wait(); });
  const double* data = packed[0].const_data_ptr<double>();
  return {data, data + values.size()};
}

void ProcessGroup::broadcast_(const std::vector<at::Tensor>& tensors) {
  if (!backend_) {
    return;
  }
  const c10::NoGradGuard no_grad;
  timed_collective(info_, waited_seconds_, [&] {
    for (const at::Tensor& tensor : tensors) {
      std::vector<at::Tensor> packed = {tensor.detach().contiguous()};
      backend_->of(tensor.device()).broadcast(packed)->wait();
      if (!packed[0].is_same(tensor)) {
        tensor.detach().copy_(packed[0]);
      }
    }
  });
}

std::string ProcessGroup::broadcast(const std::string& text) {
  if (!backend_) {
    return text;
  }
  const at::Tensor size = at::tensor({static_cast<int64_t>(text.size())}, at::kLong);
  broadcast_({size});
  std::string result = text;
  result.resize(static_cast<size_t>(size.item<int64_t>()));
  if (!result.empty()) {
    const auto options = at::TensorOptions(at::kByte);
    broadcast_({at::from_blob(result.data(), {static_cast<int64_t>(result.size())}, options)});
  }
  return result;
}

void ProcessGroup::barrier() {
  sum(std::vector<int64_t>{1});
}

}  // namespace minimind
