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
#include <fstream>
#include <functional>
#include <iterator>
#include <numeric>
#include <sstream>
#include <string>
#include <thread>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <torch/csrc/distributed/c10d/Types.hpp>
#include <utility>

#include "dist/detail/backend.h"
#include "minimind/base/error.h"
#include "minimind/base/log.h"

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

void make_backends(ProcessGroup::Backend& backend, const RankInfo& info, const c10::Device& device,
                   std::chrono::milliseconds timeout) {
  const auto part = [&](const char* name) { return c10::make_intrusive<c10d::PrefixStore>(name, backend.store); };
  const int rank = static_cast<int>(info.rank), size = static_cast<int>(info.world_size);
  auto options = c10d::ProcessGroupGloo::Options::create();
  options->timeout = timeout;
  options->threads = 2;
  options->devices.push_back(gloo_device(info));
  backend.cpu = c10::make_intrusive<c10d::ProcessGroupGloo>(part("gloo"), rank, size, options);
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

/// Waits until every rank has said that it is there: what comes next would only say that some connection timed out.
void meet(c10d::Store& store, const RankInfo& info, std::chrono::seconds patience) {
  const auto here = [](int64_t rank) { return concat("here/", rank); };
  store.set(here(info.rank), std::string("yes"));
  const Clock::time_point start = Clock::now();
  bool has_told = false;
  for (int64_t rank = 0; rank < info.world_size; ++rank) {
    while (!store.check({here(rank)})) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      if (!has_told && info.rank == 0 && Clock::now() - start > std::chrono::seconds(10)) {
        has_told = true;
        log_info(concat("waiting for rank ", rank, " of ", info.world_size, " at ", info.master_address, ":",
                        info.master_port,
                        info.launcher == Launcher::kSlurm
                            ? ": was the program started with srun, which starts every task of the job?"
                            : ": is every process started, with the same MASTER_ADDR and MASTER_PORT?"));
      }
      require(Clock::now() - start < patience, "rank ", info.rank, " of ", info.world_size,
              ": expected all ranks to come within ", patience.count(), " s, found that rank ", rank,
              " has not; was every process started, with the same address and number of ranks?");
    }
  }
}

double seconds_since_1970() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// When the parent process began, in seconds since 1970: a launcher outlives the attempts that it starts. Now, where
/// the system does not tell.
double parent_start() {
  std::ifstream stat(concat("/proc/", ::getppid(), "/stat")), uptime("/proc/uptime");
  std::string text;
  std::getline(stat, text);
  const size_t name_end = text.rfind(')');
  double up = 0;
  if (name_end == std::string::npos || !(uptime >> up)) {
    return seconds_since_1970();
  }
  // After the name: the state, and as the 20th the ticks from the system's start to the process's.
  std::istringstream fields(text.substr(name_end + 1));
  std::string skipped;
  for (int field = 0; field < 19; ++field) {
    fields >> skipped;
  }
  double ticks = 0;
  if (!(fields >> ticks)) {
    return seconds_since_1970();
  }
  return seconds_since_1970() - (up - ticks / static_cast<double>(::sysconf(_SC_CLK_TCK)));
}

/// Seconds since 1970 of the first of all attempts, which rank 0 leaves in the store.
double first_start(c10d::Store& store, const RankInfo& info) {
  const double now = seconds_since_1970();
  if (info.rank != 0) {
    return now;
  }
  return std::stod(store.compareSet("started", std::string(), std::to_string(now)));
}

}  // namespace

ProcessGroup::ProcessGroup(const RankInfo& info, c10::Device device, std::chrono::seconds timeout) : info_(info) {
  if (info.world_size <= 1) {
    return;
  }
  constexpr std::chrono::seconds kMeeting{300};
  const std::chrono::seconds patience = std::min(timeout, kMeeting);
  backend_ = std::make_unique<Backend>();
  timed_collective(info_, nullptr, waited_seconds_, [&] {
    const auto tcp = open_store(info, !info.store_is_served && info.rank == 0, patience);
    // A restarted group must not meet the addresses that the dead one left in a store that outlived it.
    backend_->store = c10::make_intrusive<c10d::PrefixStore>(concat(info.store_prefix, "/", info.restart), tcp);
    backend_->first_started = first_start(*c10::make_intrusive<c10d::PrefixStore>(info.store_prefix, tcp), info);
    meet(*backend_->store, info, patience);
    make_backends(*backend_, info, device, timeout);
    backend_->watch = std::make_unique<detail::RankWatch>(
        info, c10::make_intrusive<c10d::PrefixStore>(concat(info.store_prefix, "/", info.restart, "/watch"),
                                                     open_store(info, false, patience)));
  });
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

double ProcessGroup::first_started() {
  // A store that dies with the attempt knows this attempt alone.
  return backend_ ? std::min(backend_->first_started, parent_start()) : parent_start();
}

void ProcessGroup::barrier() {
  sum(std::vector<int64_t>{1});
}

}  // namespace minimind
