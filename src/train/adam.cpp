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

}  // namespace

Adam::Adam(std::vector<ParameterGroup> groups, double beta2) : groups_(std::move(groups)), beta2_(beta2) {
  for (const ParameterGroup& group : groups_) {
    std::vector<Moments>& moments = moments_.emplace_back();
    for (const auto& [name, parameter] : group.parameters) {
      const at::Tensor plain = parameter.detach();
      moments.push_back(
          {at::zeros_like(plain), at::zeros_like(plain), at::zeros({}, plain.options().dtype(at::kFloat))});
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
      m.push_back(moments_[g][i].m);
      v.push_back(moments_[g][i].v);
      t.push_back(moments_[g][i].t);
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

template <class Visitor>
void Adam::visit(const Visitor& visitor) const {
  for (size_t g = 0; g < groups_.size(); ++g) {
    for (size_t i = 0; i < groups_[g].parameters.size(); ++i) {
      const std::string& name = groups_[g].parameters[i].first;
      visitor("adam.m." + name, moments_[g][i].m);
      visitor("adam.v." + name, moments_[g][i].v);
      visitor("adam.t." + name, moments_[g][i].t.view({1}));
    }
  }
}

void Adam::save(StateDict& state) const {
  visit([&](const std::string& key, const at::Tensor& tensor) { state.add(key, tensor.cpu()); });
}

void Adam::load(const StateDict& state, const std::string& where) {
  const c10::NoGradGuard no_grad;
  visit([&](const std::string& key, const at::Tensor& tensor) {
    const at::Tensor* found = state.find(key);
    require(found != nullptr, where, ": expected the key ", key,
            ", which is missing; give --freeze and the model flags of this checkpoint");
    require(found->sizes() == tensor.sizes(), where, ": ", key, ": expected shape ", tensor.sizes(), ", found ",
            found->sizes());
    tensor.copy_(*found);
  });
}

}  // namespace minimind
