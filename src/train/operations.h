#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <string>

#include "minimind/model/config.h"

namespace minimind {

/// What a training step looks at.
struct StepSize {
  int64_t words = 0;       ///< real tokens, padding left out
  int64_t rows = 0;        ///< samples
  int64_t supervised = 0;  ///< tokens with a loss
  int64_t images = 0;
};

/// Floating-point operations that training needs (a multiply-add is two), matrix products alone: padding, and what the
/// last layer and the output head would do for tokens without a loss, are not needed and not counted.
class OperationCount {
 public:
  OperationCount() = default;
  OperationCount(const LmConfig& config, const ClipVisionConfig& encoder, const std::string& freeze);
  /// Forward and backward; samples are taken to be equally long, which matters for attention alone.
  double training(const StepSize& step) const;
  /// The frozen encoder's forward pass.
  double encoding(int64_t images) const { return per_image_encoded_ * static_cast<double>(images); }

 private:
  double per_word_ = 0;             ///< layers before the last, and what the last does for every token
  double per_supervised_ = 0;       ///< the rest of the last layer, and the head
  double per_pair_ = 0;             ///< attention, for each token and each it sees, layers before the last
  double per_supervised_pair_ = 0;  ///< the same, last layer
  double per_image_ = 0;            ///< projection
  double per_image_encoded_ = 0;
};

/// Operations a second of a large matrix product in `dtype` on the device, the best of a tenth of a second. Leaves the
/// random state alone.
double matrix_product_rate(const c10::Device& device, c10::ScalarType dtype);

}  // namespace minimind
