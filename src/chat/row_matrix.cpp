#include "chat/detail/row_matrix.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>

#include <algorithm>

namespace minimind::detail {

namespace {

/// Fewer weights than this are read before another thread has woken up.
constexpr int64_t kWeightsPerThread = 32768;

const uint16_t* bfloat16_bits(const at::Tensor& weights) {
  return static_cast<const uint16_t*>(weights.const_data_ptr());
}

}  // namespace

RowMatrix::RowMatrix(const at::Tensor& weights, WeightFormat format, const RowKernels& kernels) : kernels_(&kernels) {
  const at::Tensor plain = weights.detach().contiguous();
  if (format == WeightFormat::kFloat32) {
    weights_ = plain;
  } else if (format == WeightFormat::kBFloat16) {
    weights_ = plain.to(at::kBFloat16);
  } else {
    // Symmetric, a scale for each row: its largest weight becomes 127.
    scales_ = plain.abs().amax(1).div_(127.0).clamp_min_(1e-30);
    weights_ = at::div(plain, scales_.unsqueeze(1)).round_().to(at::kChar);
  }
}

void RowMatrix::multiply(const float* x, float* y) const {
  const int64_t width = cols();
  const int64_t grain = std::max<int64_t>(1, kWeightsPerThread / width);
  at::parallel_for(0, rows(), grain, [&](int64_t begin, int64_t end) {
    const int64_t first = begin * width, count = end - begin;
    switch (weights_.scalar_type()) {
      case at::kFloat:
        kernels_->float32(weights_.const_data_ptr<float>() + first, x, y + begin, count, width);
        break;
      case at::kBFloat16:
        kernels_->bfloat16(bfloat16_bits(weights_) + first, x, y + begin, count, width);
        break;
      default:
        kernels_->int8(weights_.const_data_ptr<int8_t>() + first, scales_.const_data_ptr<float>() + begin, x, y + begin,
                       count, width);
    }
  });
}

at::Tensor RowMatrix::multiply(const at::Tensor& x) const {
  if (weights_.scalar_type() == at::kFloat) {
    return at::linear(x, weights_);
  }
  if (weights_.scalar_type() == at::kBFloat16) {
    return at::linear(x.to(at::kBFloat16), weights_).to(at::kFloat);
  }
  return at::linear(x, weights_.to(at::kFloat)).mul_(scales_);
}

void RowMatrix::copy_row(int64_t index, float* out) const {
  at::Tensor row = weights_.select(0, index).to(at::kFloat);
  if (scales_.defined()) {
    row = at::mul(row, scales_.select(0, index));
  }
  std::copy_n(row.const_data_ptr<float>(), cols(), out);
}

}  // namespace minimind::detail
