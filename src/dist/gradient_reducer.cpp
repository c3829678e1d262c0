#include "dist/gradient_reducer.h"

#include <ATen/ops/mul.h>
#include <ATen/ops/sum.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <string>
#include <torch/csrc/distributed/c10d/reducer.hpp>
#include <tuple>
#include <utility>

#include "dist/process_group_backend.h"
#include "minimind/base/error.h"

namespace minimind {
namespace {

using ReduceClock = std::chrono::steady_clock;

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

struct GradientReducer::State {
  int64_t launched = 0;  // counted in the caller's thread, which runs the backward pass
  ReduceClock::time_point last_launch{};
  std::unique_ptr<c10d::Reducer> reducer;
};

GradientReducer::GradientReducer(ProcessGroup& group, std::vector<at::Tensor> parameters, int64_t bucket_bytes)
    : group_(group), parameters_(std::move(parameters)) {
  if (group.world_size() == 1) {
    return;
  }
  require(!parameters_.empty(), "training: expected at least one trained parameter, found none (--freeze)");
  state_ = std::make_unique<State>();
  const std::vector<bool> dense(parameters_.size(), false);
  auto [buckets, limits] =
      c10d::compute_bucket_assignment_by_size(parameters_, {static_cast<size_t>(bucket_bytes)}, dense);
  // Gradients come from the last layer to the first.
  std::reverse(buckets.begin(), buckets.end());
  ProcessGroupBackend& backend = *group.backend();
  state_->reducer = std::make_unique<c10d::Reducer>(
      parameters_, std::move(buckets), backend.group, dense, bucket_bytes, /*find_unused_parameters=*/true,
      /*gradient_as_bucket_view=*/true, std::unordered_map<size_t, std::string>{}, bucket_bytes,
      /*skip_all_reduce_unused_params=*/false, /*use_python_reducer=*/false, std::vector<int64_t>{});
  state_->reducer->register_comm_hook(
      std::make_unique<SumHook>(backend.of(parameters_[0].device()), [&state = *state_] {
        ++state.launched;
        state.last_launch = ReduceClock::now();
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
  detail::run_collective(group_.info(), group_.backend()->watch.get(), [&] {
    {
      SilentWarnings silent;
      const c10::WarningUtils::WarningHandlerGuard guard(&silent);
      state_->reducer->prepare_for_backward({root});
    }
    root.backward();
  });
  // The backward pass hides all but the time from the last bucket's start to its end.
  group_.add_reduce_wait(std::chrono::duration<double>(ReduceClock::now() - state_->last_launch).count());
}

int64_t GradientReducer::launched() const {
  return state_ ? state_->launched : 0;
}

}  // namespace minimind
