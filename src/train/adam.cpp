#include "train/adam.h"

#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_sub.h>
#include <ATen/ops/_fused_adam.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>

#include "minimind/base/error.h"

namespace minimind {
namespace {

constexpr double kBeta1 = 0.9;
constexpr double kEpsilon = 1e-8;

void load_slot(at::Tensor& target, const StateDict& state, const std::string& key, const std::string& where) {
  const at::Tensor* found = state.find(key);
  require(found != nullptr, where, ": expected the key ", key,
          ", found none; was the checkpoint written with other --freeze or model flags?");
  require(found->numel() == target.numel(), where, ": ", key, ": expected shape ", target.sizes(), ", found ",
          found->sizes());
  target.copy_(found->reshape(target.sizes()));
}

}  // namespace

Adam::Adam(std::vector<ParameterGroup> groups, double beta2) : groups_(std::move(groups)), beta2_(beta2) {
  for (const ParameterGroup& group : groups_) {
    std::vector<Slot>& slots = slots_.emplace_back();
    for (const auto& [name, parameter] : group.parameters) {
      const at::Tensor plain = parameter.detach();
      slots.push_back({at::zeros_like(plain), at::zeros_like(plain), at::zeros({}, plain.options().dtype(at::kFloat))});
    }
  }
}

void Adam::zero_grad() {
  for (ParameterGroup& group : groups_) {
    for (auto& [name, parameter] : group.parameters) {
      parameter.mutable_grad().reset();
    }
  }
}

std::vector<at::Tensor> Adam::gradients() const {
  std::vector<at::Tensor> gradients;
  for (const ParameterGroup& group : groups_) {
    for (const auto& [name, parameter] : group.parameters) {
      if (parameter.grad().defined()) {
        gradients.push_back(parameter.grad());
      }
    }
  }
  return gradients;
}

void Adam::step(const std::vector<double>& rates, const std::optional<at::Tensor>& divisor,
                const std::optional<at::Tensor>& found_inf) {
  const c10::NoGradGuard no_grad;
  for (size_t g = 0; g < groups_.size(); ++g) {
    std::vector<at::Tensor> parameters, gradients, m, v, t;
    for (size_t i = 0; i < groups_[g].parameters.size(); ++i) {
      const at::Tensor& parameter = groups_[g].parameters[i].second;
      if (!parameter.grad().defined()) {
        continue;
      }
      parameters.push_back(parameter);
      gradients.push_back(parameter.grad());
      m.push_back(slots_[g][i].m);
      v.push_back(slots_[g][i].v);
      t.push_back(slots_[g][i].t);
    }
    if (parameters.empty()) {
      continue;
    }
    at::_foreach_add_(t, 1);
    at::_fused_adam_(parameters, gradients, m, v, {}, t, rates[g], kBeta1, beta2_, 0.0, kEpsilon, false, false, divisor,
                     found_inf);
    if (found_inf) {
      at::_foreach_sub_(t, std::vector<at::Tensor>(t.size(), *found_inf));
    }
  }
}

void Adam::save(StateDict& state) const {
  for (size_t g = 0; g < groups_.size(); ++g) {
    for (size_t i = 0; i < groups_[g].parameters.size(); ++i) {
      const std::string& name = groups_[g].parameters[i].first;
      state.add("adam.m." + name, slots_[g][i].m.cpu());
      state.add("adam.v." + name, slots_[g][i].v.cpu());
      state.add("adam.t." + name, slots_[g][i].t.cpu().reshape({1}));
    }
  }
}

void Adam::load(const StateDict& state, const std::string& where) {
  const c10::NoGradGuard no_grad;
  for (size_t g = 0; g < groups_.size(); ++g) {
    for (size_t i = 0; i < groups_[g].parameters.size(); ++i) {
      const std::string& name = groups_[g].parameters[i].first;
      load_slot(slots_[g][i].m, state, "adam.m." + name, where);
      load_slot(slots_[g][i].v, state, "adam.v." + name, where);
      load_slot(slots_[g][i].t, state, "adam.t." + name, where);
    }
  }
}

}  // namespace minimind
