#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "image/resize_kernels.h"

namespace minimind::detail {

/// Pillow's bicubic (a = -0.5, antialiased) coefficients of one axis in fixed point.
class ResizeAxis {
 public:
  ResizeAxis(int64_t in_size, int64_t out_size);
  AxisView view() const;
  /// How many bytes a kernel may read from the start of an interleaved row.
  size_t reach() const;
  size_t bytes() const { return values_.size() * 8 + firsts_.size() * 8; }

 private:
  int32_t taps_ = 0;
  std::vector<int32_t> firsts_;
  std::vector<int32_t> counts_;
  std::vector<int32_t> values_;
  std::vector<int16_t> highs_;
  std::vector<int16_t> lows_;
};

/// The coefficients from a cache that all threads share: a data set has few image sizes, and computing the coefficients
/// costs as much as a resize.
std::shared_ptr<const ResizeAxis> resize_axis(int64_t in_size, int64_t out_size);

}  // namespace minimind::detail
