#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "minimind/io/state_dict.h"

namespace minimind {

/// Parameters that share a learning rate.
struct ParameterGroup {
  std::vector<std::pair<std::string, at::Tensor>> parameters;
};

/// Adam with beta1 0.9, epsilon 1e-8 and no weight decay, by LibTorch's fused kernel. Each parameter counts its own
/// steps: a parameter without a gradient does not change.
class Adam {
 public:
  explicit Adam(std::vector<ParameterGroup> groups, double beta2 = 0.999);

  /// Drops all gradients.
  void zero_grad();
  /// The defined gradients in the order of the parameters.
  std::vector<at::Tensor> gradients() const;
  /// One update; rates[g] is the learning rate of group g. Divides the gradients by `divisor` first (a float32 scalar,
  /// for clipping). If `found_inf` (a float32 scalar) is 1, nothing changes.
  void step(const std::vector<double>& rates, const std::optional<at::Tensor>& divisor = {},
            const std::optional<at::Tensor>& found_inf = {});

  const std::vector<ParameterGroup>& groups() const { return groups_; }
  /// Adds `adam.m.NAME`, `adam.v.NAME` and `adam.t.NAME`.
  void save(StateDict& state) const;
  /// Throws Error with `where` and the key if a tensor is missing or of another shape.
  void load(const StateDict& state, const std::string& where);

 private:
  /// Of one parameter: averages of the gradient and its square, and the number of steps.
  struct Moments {
    at::Tensor m, v, t;
  };
  template <class Visitor>
  void visit(const Visitor& visitor) const;
  std::vector<ParameterGroup> groups_;
  double beta2_;
  std::vector<std::vector<Moments>> moments_;
};

}  // namespace minimind
