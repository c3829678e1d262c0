#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "dist/process_group.h"
#include "minimind/data/loader.h"
#include "minimind/io/state_dict.h"
#include "minimind/model/vlm.h"
#include "train/checkpoint.h"

namespace minimind {

/// Linear warm-up, then a cosine from `learning_rate` to a tenth of it. SPEC.md section 6.
struct Schedule {
  double learning_rate = 4e-4;
  int64_t warmup = 0;  ///< micro-batches
  int64_t total = 1;   ///< micro-batches of all epochs

  /// The learning rate of micro-batch t, counted from 0; a tenth of the peak from `total` on.
  double at(int64_t t) const;
};

/// Named parameters that share a learning rate.
using ParameterGroup = std::vector<StateDict::Entry>;

/// Adam with beta1 0.9, epsilon 1e-8 and no weight decay, by LibTorch's fused kernel. Each parameter counts its own
/// steps: a parameter without a gradient does not change.
class Adam {
 public:
  explicit Adam(const std::vector<ParameterGroup>& groups, double beta2 = 0.999);

  /// A trained parameter and its averages of the gradient (m) and its square (v), and its number of steps (t).
  struct Parameter {
    size_t group;
    std::string name;
    at::Tensor tensor, m, v, t;
  };
  /// Group after group.
  const std::vector<Parameter>& parameters() const { return parameters_; }
  /// Drops all gradients.
  void zero_grad();
  /// The defined gradients in the order of the parameters.
  std::vector<at::Tensor> gradients() const;
  /// One update; rates[g] is the learning rate of group g. Divides the gradients by `divisor` first (a float32 scalar,
  /// for clipping). If `found_inf` (a float32 scalar) is 1, nothing changes.
  void step(const std::vector<double>& rates, const std::optional<at::Tensor>& divisor = {},
            const std::optional<at::Tensor>& found_inf = {});
  /// Adds `adam.m.NAME`, `adam.v.NAME` and `adam.t.NAME`: no copies, on their device.
  void save(StateDict& state) const;
  /// Throws Error with `where` and the key if a tensor is missing or of another shape.
  void load(const StateDict& state, const std::string& where);

 private:
  std::vector<Parameter> parameters_;
  double beta2_;
};

/// Loss scaling for float16: multiplies the loss by scale() and divides the gradients by it before the update. If a
/// gradient is not finite, the update is skipped and the scale halves. After 2000 finite steps it doubles.
class LossScaler {
 public:
  /// If not enabled, the scale is 1 and no call has an effect.
  LossScaler(bool enabled, const c10::Device& device);
  bool enabled() const { return scale_.defined(); }
  /// Scalar float32 on the device; undefined if not enabled.
  const at::Tensor& scale() const { return scale_; }
  /// Divides the gradients in place. Returns found_inf: a float32 scalar, 1 if a gradient is not finite.
  at::Tensor unscale(const std::vector<at::Tensor>& gradients);
  void update(const at::Tensor& found_inf);
  void save(StateDict& state) const;
  void load(const StateDict& state);

 private:
  at::Tensor scale_;
  at::Tensor growth_tracker_;
};

/// Everything that training changes. A checkpoint holds it; all else follows from the options and the files.
struct TrainState {
  /// Fixes the parameters that `freeze` names, as in --freeze. Group 0 of the trained parameters is the language model,
  /// group 1 the projection. `dtype`: of the matmuls; float16 turns loss scaling on.
  TrainState(Vlm trained_model, const std::string& freeze, double adam_beta2, at::ScalarType dtype);

  /// Adds `model.NAME`, `adam.*` and `scaler.*`: no copies, on their device. The caller writes the position.
  void save(StateDict& state) const;
  /// Restores what save() added. Throws Error with `where` and the key if a tensor is missing or of another shape.
  void load(const StateDict& state, const std::string& where);
  /// Restores the state and the position of a checkpoint that rank 0 has read. All ranks call it together.
  void resume(const Checkpoint& checkpoint, ProcessGroup& group, const Loader& loader);

  Vlm model;
  Adam adam;
  LossScaler scaler;
  TrainingPosition position;
};

}  // namespace minimind
