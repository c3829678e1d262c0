#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <string>

#include "minimind/model/config.h"
#include "train/train_step.h"

namespace minimind {

/// FLOPs that training needs (a multiply-add is two), of matmuls alone. Padding is not counted, nor is the work of the
/// last layer and the output head for tokens without a loss.
class FlopsCounter {
 public:
  FlopsCounter(const LmConfig& config, const ClipVisionConfig& encoder, const std::string& freeze);
  /// Forward and backward. Takes the samples to be equally long, which matters for attention alone.
  double training(const StepCounts& step) const;
  /// The forward pass of the frozen encoder.
  double encoding(double images) const { return per_image_encoded_ * images; }

 private:
  double per_token_ = 0;            ///< layers before the last, and keys and values of the last
  double per_supervised_ = 0;       ///< the rest of the last layer, and the head
  double per_pair_ = 0;             ///< attention of layers before the last, for each token and each token it sees
  double per_supervised_pair_ = 0;  ///< attention of the last layer
  double per_image_ = 0;            ///< projection
  double per_image_encoded_ = 0;
};

/// FLOPs per second of large matmuls in `dtype` on the device: the best of a tenth of a second. Does not change the
/// random state.
double measure_peak_flops(const c10::Device& device, c10::ScalarType dtype);

}  // namespace minimind
