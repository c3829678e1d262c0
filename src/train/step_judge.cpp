#include "train/step_judge.h"

#include <ATen/core/TensorBody.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/stack.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <cmath>
#include <utility>

namespace minimind {
namespace {

/// A copy on the host; of a GPU's tensor it is complete once the kernels before it are done.
at::Tensor host_copy(const at::Tensor& tensor) {
  if (tensor.is_cpu()) {
    return tensor;
  }
  const at::Tensor host = at::empty(tensor.sizes(), tensor.options().device(at::kCPU).pinned_memory(true));
  return host.copy_(tensor, /*non_blocking=*/true);
}

void read(StartedStep& step) {
  if (step.reading && !step.numbers) {
    step.numbers = step.reading->numbers();
  }
}

int64_t has_bad_loss(const StartedStep& step) {
  return step.numbers && !std::isfinite(step.loss()) ? 1 : 0;
}

}  // namespace

StepReading::StepReading(const StepResult& result, const LossScaler& scaler) {
  std::vector<at::Tensor> scalars;
  const auto add = [&](const at::Tensor& scalar) {
    if (!scalar.defined()) {
      return std::optional<int64_t>();
    }
    scalars.push_back(scalar);
    return std::optional(std::ssize(scalars) - 1);
  };
  loss_sum_ = add(result.loss_sum);
  expert_loss_ = add(result.expert_loss);
  grad_norm_ = add(result.grad_norm);
  loss_scale_ = add(scaler.scale());
  if (scalars.empty()) {
    return;
  }
  const c10::Device device = scalars.front().device();
  scalars_ = host_copy(at::stack(scalars));
  if (result.expert_load.defined()) {
    expert_load_ = host_copy(result.expert_load);
  }
  if (!device.is_cpu()) {
    copied_.emplace(device.type());
    copied_->record(c10::impl::VirtualGuardImpl(device.type()).getStream(device));
  }
}

StepNumbers StepReading::numbers() const {
  if (copied_) {
    copied_->synchronize();
  }
  const auto number = [&](const std::optional<int64_t>& place) {
    return place ? double{scalars_.const_data_ptr<float>()[*place]} : 0.0;
  };
  StepNumbers numbers{number(loss_sum_), number(expert_loss_), number(grad_norm_), std::nullopt, expert_load_};
  if (loss_scale_) {
    numbers.loss_scale = number(loss_scale_);
  }
  return numbers;
}

double StartedStep::loss() const {
  return supervised_tokens > 0 ? numbers->loss_sum / static_cast<double>(supervised_tokens) : 0;
}

StepJudge::StepJudge(ProcessGroup& group, bool runs_ahead, Finish finish)
    : group_(group), runs_ahead_(runs_ahead), finish_(std::move(finish)) {}

void StepJudge::add(StartedStep step) {
  steps_.push_back(std::move(step));
  if (!runs_ahead_) {
    judge_all();
  } else if (steps_.size() > 1) {
    read(steps_.front());
  }
}

int64_t StepJudge::bad_losses() const {
  return steps_.size() > 1 ? has_bad_loss(steps_.front()) : 0;
}

void StepJudge::judge_next(int64_t bad_losses) {
  if (steps_.size() > 1) {
    judge(bad_losses);
  }
}

void StepJudge::judge_all() {
  while (!steps_.empty()) {
    read(steps_.front());
    judge(steps_.front().numbers ? group_.sum(has_bad_loss(steps_.front())) : 0);
  }
}

void StepJudge::judge(int64_t bad_losses) {
  const StartedStep step = std::move(steps_.front());
  steps_.pop_front();
  finish_(step, step.numbers ? judge_step(bad_losses > 0, step.numbers->grad_norm, step.numbers->loss_scale)
                             : StepVerdict::kGood);
}

}  // namespace minimind
