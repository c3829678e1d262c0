#include "dist/process_group.h"

#include <ATen/ops/from_blob.h>
#include <ATen/ops/tensor.h>
#include <arpa/inet.h>
#include <c10/core/GradMode.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <numeric>
#include <string>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <torch/csrc/distributed/c10d/Types.hpp>
#include <utility>

#include "dist/backend.h"
#include "dist/launcher_times.h"
#include "dist/meeting.h"
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

void make_backends(ProcessGroup::Backend& backend, const RankInfo& info, const c10::Device& device,
                   std::chrono::milliseconds patience, std::chrono::milliseconds timeout) {
  const auto part = [&](const char* name) { return c10::make_intrusive<c10d::PrefixStore>(name, backend.store); };
  const int rank = static_cast<int>(info.rank), size = static_cast<int>(info.world_size);
  auto options = c10d::ProcessGroupGloo::Options::create();
  options->timeout = patience;
  options->threads = 2;
  options->devices.push_back(gloo_device(info));
  backend.cpu = c10::make_intrusive<c10d::ProcessGroupGloo>(part("gloo"), rank, size, options);
  backend.cpu->setTimeout(timeout);
#ifdef USE_C10D_NCCL
  if (device.is_cuda()) {
    auto nccl = c10d::ProcessGroupNCCL::Options::create();
    nccl->timeout = timeout;
    backend.cuda = c10::make_intrusive<c10d::ProcessGroupNCCL>(part("nccl"), rank, size, nccl);
  }
#endif
  (void)device;
  backend.group = c10::make_intrusive<c10d::ProcessGroup>(backend.store, rank, size);
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
void timed_collective(const RankInfo& info, detail::RankWatch* watch, double& waited, const Work& work) {
  const Clock::time_point start = Clock::now();
  detail::run_collective(info, watch, work);
  waited += std::chrono::duration<double>(Clock::now() - start).count();
}

c10::intrusive_ptr<c10d::Store> open_store(const RankInfo& info, bool serves, std::chrono::milliseconds timeout) {
  c10d::TCPStoreOptions options;
  options.port = static_cast<uint16_t>(info.master_port);
  options.isServer = serves;
  options.numWorkers = static_cast<std::size_t>(info.world_size);
  options.waitWorkers = false;
  options.timeout = timeout;
  return c10::make_intrusive<c10d::TCPStore>(info.master_address, options);
}

}  // namespace

ProcessGroup::ProcessGroup(const RankInfo& info, c10::Device device, std::chrono::seconds timeout) : info_(info) {
  if (info.world_size <= 1) {
    return;
  }
  constexpr std::chrono::seconds kMeeting{300};
  const std::chrono::seconds patience = std::min(timeout, kMeeting);
  backend_ = std::make_unique<Backend>();
  const auto connect = [&](bool serves) {
    return c10::make_intrusive<c10d::PrefixStore>(info.store_prefix, open_store(info, serves, patience));
  };
  std::string attempt;
  timed_collective(info_, nullptr, waited_seconds_, [&] {
    const auto store = connect(!info.store_is_served && info.rank == 0);
    detail::Meeting meeting(store, info);
    meeting.wait_for_all(patience);
    attempt = meeting.prefix();
    backend_->first_started = meeting.first_started();
    backend_->store = c10::make_intrusive<c10d::PrefixStore>(attempt, store);
    backend_->watch = std::make_unique<detail::RankWatch>(
        info, c10::make_intrusive<c10d::PrefixStore>(attempt + "/watch", connect(false)));
  });
  timed_collective(info_, backend_->watch.get(), waited_seconds_,
                   [&] { make_backends(*backend_, info, device, patience, timeout); });
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

std::vector<int64_t> ProcessGroup::sum(const std::vector<int64_t>& values) {
  if (!backend_) {
    return values;
  }
  std::vector<at::Tensor> packed = {at::tensor(values, at::kLong)};
  timed_collective(info_, backend_->watch.get(), waited_seconds_, [&] { backend_->cpu->allreduce(packed)->wait(); });
  const int64_t* data = packed[0].const_data_ptr<int64_t>();
  return {data, data + values.size()};
}

std::vector<double> ProcessGroup::sum(const std::vector<double>& values) {
  if (!backend_) {
    return values;
  }
  std::vector<at::Tensor> packed = {at::tensor(values, at::kDouble)};
  timed_collective(info_, backend_->watch.get(), waited_seconds_, [&] { backend_->cpu->allreduce(packed)->wait(); });
  const double* data = packed[0].const_data_ptr<double>();
  return {data, data + values.size()};
}

void ProcessGroup::broadcast_(const std::vector<at::Tensor>& tensors) {
  if (!backend_) {
    return;
  }
  const c10::NoGradGuard no_grad;
  timed_collective(info_, backend_->watch.get(), waited_seconds_, [&] {
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

std::vector<std::string> ProcessGroup::gather(const std::string& text) {
  const auto own = static_cast<size_t>(rank());
  std::vector<int64_t> sizes(static_cast<size_t>(world_size()));
  sizes[own] = static_cast<int64_t>(text.size());
  sizes = sum(sizes);
  // Every rank adds its letters where the others add zeros.
  std::vector<int64_t> letters(static_cast<size_t>(std::accumulate(sizes.begin(), sizes.end(), int64_t{0})));
  std::copy(text.begin(), text.end(),
            letters.begin() + std::accumulate(sizes.begin(), sizes.begin() + rank(), int64_t{0}));
  letters = sum(letters);
  std::vector<std::string> texts;
  auto next = letters.begin();
  for (const int64_t size : sizes) {
    std::string& one = texts.emplace_back();
    std::transform(next, next + size, std::back_inserter(one),
                   [](int64_t letter) { return static_cast<char>(letter); });
    next += size;
  }
  return texts;
}

void ProcessGroup::report_failure(const std::string& cause) {
  if (backend_) {
    backend_->watch->report(cause);
  }
}

AttemptTimes ProcessGroup::attempt_times() const {
  AttemptTimes times = detail::launcher_times();
  // A launcher may be older than the run that it was asked for, or younger, on a host that came later. A store that
  // dies with the attempt knows this attempt alone.
  if (backend_ && info_.store_is_served) {
    times.first = backend_->first_started;
  }
  return times;
}

void ProcessGroup::barrier() {
  sum(std::vector<int64_t>{1});
}

}  // namespace minimind
