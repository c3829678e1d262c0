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

/// Adam (beta1 0.9, beta2 0.999 as in the original or what is given, eps 1e-8, no weight decay) by the framework's
/// fused operation. Each parameter counts its own steps: one without a gradient stays as it is.
class Adam {
 public:
  explicit Adam(std::vector<ParameterGroup> groups, double beta2 = 0.999);

  /// Drops all gradients.
  void zero_grad();
  /// The gradients that there are, in the order of the parameters.
  std::vector<at::Tensor> gradients() const;
  /// One update; rates[g] is group g's learning rate. Gradients are divided by `divisor` first (a float32 scalar; for
  /// clipping). Nothing changes where `found_inf` (a float32 scalar) is 1.
  void step(const std::vector<double>& rates, const std::optional<at::Tensor>& divisor = {},
            const std::optional<at::Tensor>& found_inf = {});

  const std::vector<ParameterGroup>& groups() const { return groups_; }
  /// Adds `adam.m.NAME`, `adam.v.NAME` and `adam.t.NAME`.
  void save(StateDict& state) const;
  /// Throws Error that names `where` and the key where one is missing or of another shape.
  void load(const StateDict& state, const std::string& where);

 private:
  struct Slot {
    at::Tensor m, v, t;
  };
  std::vector<ParameterGroup> groups_;
  double beta2_;
  std::vector<std::vector<Slot>> slots_;
};

}  // namespace minimind
