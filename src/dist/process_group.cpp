#include "dist/process_group.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/sum.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <functional>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/reducer.hpp>
#include <tuple>
#include <utility>

#include "base/stopwatch.h"
#include "dist/collective.h"
#include "dist/rendezvous.h"
#include "minimind/base/error.h"

namespace minimind {
namespace {

constexpr const char* kRunId = "run_id";

std::string completed_key(const std::string& run_id) {
  return "completed/" + run_id;
}

at::Tensor bytes_of(std::string& text) {
  return at::from_blob(text.data(), {static_cast<int64_t>(text.size())}, at::TensorOptions(at::kByte));
}

/// Sums a bucket. The reducer's default hook takes the mean: its multiplication rounds each gradient once more.
class SumHook : public c10d::CommHookInterface {
 public:
  SumHook(c10d::Backend& backend, std::function<void()> on_launch)
      : backend_(backend), on_launch_(std::move(on_launch)) {}

  c10::intrusive_ptr<c10::ivalue::Future> runHook(c10d::GradBucket& bucket) override {
    std::vector<at::Tensor> tensors = {bucket.getBufferRef()};
    auto future = backend_.allreduce(tensors)->getFuture();
    on_launch_();
    return future;
  }
  at::Tensor parseHookResult(const c10::IValue& result) override {
    return c10d::detail::parseCppCommHookResult(result);
  }

 private:
  c10d::Backend& backend_;
  std::function<void()> on_launch_;
};

/// Drops the reducer's advice not to look for unused parameters: only some steps have them.
class SilentWarnings : public c10::WarningHandler {
 public:
  void process(const c10::Warning& /*warning*/) override {}
};

}  // namespace

/// Runs one collective. Turns the failure of a connection into LostRank with all that is known about it; other
/// exceptions pass.
template <class Work>
void ProcessGroup::run(const Work& work) {
  try {
    work();
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    if (detail::is_own_failure(error)) {
      throw;
    }
    const std::string cause = connections_->watch ? connections_->watch->explain_loss() : "";
    throw LostRank(concat(
        "rank ", info_.rank, " of ", info_.world_size,
        ": expected all ranks to answer, found a connection that failed (", detail::connection_failure_text(error),
        "); ", cause.empty() ? "another rank has ended or cannot be reached: see the message of that rank" : cause));
  }
}

/// Likewise, and adds its time to the seconds in collectives.
template <class Work>
void ProcessGroup::run_timed(const Work& work) {
  const Stopwatch watch;
  run(work);
  reduce_wait_seconds_ += watch.seconds();
}

ProcessGroup::ProcessGroup(const RankInfo& info, c10::Device device, std::chrono::seconds timeout)
    : info_(info), device_(device) {
  if (!info.has_group() && !info.store_is_served) {
    return;
  }
  constexpr std::chrono::seconds kRendezvousTime{300};
  const std::chrono::seconds patience = std::min(timeout, kRendezvousTime);
  connections_ = std::make_unique<detail::Connections>();
  run_timed([&] {
    const auto store = detail::open_store(info, !info.store_is_served && info.rank == 0, patience);
    connections_->run_store = store;
    if (info.rank == 0) {
      const std::string nonce = detail::make_nonce();
      run_id_ = store->compareSet(kRunId, std::string(), nonce);
      is_restarted_ = run_id_ != nonce;
    }
    if (info.has_group()) {
      detail::Rendezvous rendezvous(store, info);
      rendezvous.wait_for_all(patience);
      const std::string attempt = rendezvous.prefix();
      connections_->attempt_store = c10::make_intrusive<c10d::PrefixStore>(attempt, store);
      connections_->watch = std::make_unique<detail::RankWatch>(
          info, c10::make_intrusive<c10d::PrefixStore>(attempt + "/watch", detail::open_store(info, false, patience)));
    }
  });
  if (info.has_group()) {
    run_timed([&] { connections_->open_backends(info, device, patience, timeout); });
  }
}

ProcessGroup::~ProcessGroup() {
  if (connections_) {
    connections_->close();
  }
}

bool ProcessGroup::has_completed(const std::string& run_id) {
  bool is_completed = false;
  if (connections_) {
    run([&] { is_completed = connections_->run_store->check({completed_key(run_id)}); });
  }
  return is_completed;
}

void ProcessGroup::end_run() {
  if (connections_ && is_main()) {
    run([&] {
      connections_->run_store->set(completed_key(run_id_), std::string("yes"));
      connections_->run_store->deleteKey(kRunId);
    });
  }
}

template <class Number>
void ProcessGroup::sum(const std::vector<Number*>& numbers) {
  if (!info_.has_group()) {
    return;
  }
  std::vector<at::Tensor> packed = {
      at::empty({std::ssize(numbers)}, at::TensorOptions(c10::CppTypeToScalarType<Number>::value))};
  Number* data = packed[0].mutable_data_ptr<Number>();
  std::transform(numbers.begin(), numbers.end(), data, [](const Number* number) { return *number; });
  run_timed([&] { connections_->cpu->allreduce(packed)->wait(); });
  for (Number* number : numbers) {
    *number = *data++;
  }
}

template void ProcessGroup::sum(const std::vector<int64_t*>&);
template void ProcessGroup::sum(const std::vector<double*>&);

void ProcessGroup::broadcast_(const std::vector<at::Tensor>& tensors) {
  if (!info_.has_group()) {
    return;
  }
  const c10::NoGradGuard no_grad;
  run_timed([&] {
    for (const at::Tensor& tensor : tensors) {
      std::vector<at::Tensor> packed = {tensor.detach().contiguous()};
      connections_->of(tensor.device()).broadcast(packed)->wait();
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
  if (!info_.has_group() || padded.empty()) {
    return texts;
  }
  std::vector<at::Tensor> sent = {bytes_of(padded)};
  std::vector<std::vector<at::Tensor>> received(1);
  for (std::string& received_text : texts) {
    received[0].push_back(bytes_of(received_text));
  }
  run_timed([&] { connections_->cpu->allgather(received, sent)->wait(); });
  for (size_t sender = 0; sender < texts.size(); ++sender) {
    texts[sender].resize(static_cast<size_t>(sizes[sender]));
  }
  return texts;
}

void ProcessGroup::report_failure(const std::string& cause) {
  if (info_.has_group()) {
    connections_->watch->report(cause);
  }
}

struct GradientReducer::State {
  int64_t launched = 0;  // counted in the caller's thread, which runs the backward pass
  Stopwatch since_launch;
  std::unique_ptr<c10d::Reducer> reducer;
};

GradientReducer::GradientReducer(ProcessGroup& group, std::vector<at::Tensor> parameters, int64_t bucket_bytes)
    : group_(group), parameters_(std::move(parameters)) {
  if (!group.info().has_group()) {
    return;
  }
  require(!parameters_.empty(), "training: expected at least one trained parameter, found none (--freeze)");
  state_ = std::make_unique<State>();
  const std::vector<bool> dense(parameters_.size(), false);
  auto [buckets, limits] =
      c10d::compute_bucket_assignment_by_size(parameters_, {static_cast<size_t>(bucket_bytes)}, dense);
  // Gradients come from the last layer to the first.
  std::reverse(buckets.begin(), buckets.end());
  const detail::Connections& connections = *group.connections_;
  state_->reducer = std::make_unique<c10d::Reducer>(
      parameters_, std::move(buckets), connections.group, dense, bucket_bytes, /*find_unused_parameters=*/true,
      /*gradient_as_bucket_view=*/true, std::unordered_map<size_t, std::string>{}, bucket_bytes,
      /*skip_all_reduce_unused_params=*/false, /*use_python_reducer=*/false, std::vector<int64_t>{});
  state_->reducer->register_comm_hook(
      std::make_unique<SumHook>(connections.of(parameters_[0].device()), [&state = *state_] {
        ++state.launched;
        state.since_launch.restart();
      }));
}

GradientReducer::~GradientReducer() = default;

void GradientReducer::accumulate(const at::Tensor& objective) {
  if (objective.requires_grad()) {
    objective.backward();
  }
}

void GradientReducer::accumulate_and_sum(const at::Tensor& objective) {
  if (!state_) {
    if (objective.defined()) {
      accumulate(objective);
    }
    return;
  }
  // The reducer needs a backward pass on every rank. A rank without data adds zeros to the last parameter: it belongs
  // to the language model, which every rank with data uses.
  const at::Tensor root =
      objective.defined() && objective.requires_grad() ? objective : parameters_.back().sum().mul(0.0);
  group_.run([&] {
    {
      SilentWarnings silent;
      const c10::WarningUtils::WarningHandlerGuard guard(&silent);
      state_->reducer->prepare_for_backward({root});
    }
    root.backward();
  });
  // The backward pass hides all but the time from the last bucket's start to its end.
  group_.reduce_wait_seconds_ += state_->since_launch.seconds();
}

int64_t GradientReducer::launched() const {
  return state_ ? state_->launched : 0;
}

}  // namespace minimind
