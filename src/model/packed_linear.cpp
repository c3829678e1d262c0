#include "model/packed_linear.h"

#include <ATen/Functions.h>
#include <sys/mman.h>

#include <algorithm>
#include <stdexcept>

#include "minimind/base/error.h"
#include "model/bfloat16_products.h"
#include "model/small_gemm.h"

namespace minimind {

namespace {

constexpr int64_t kArenaAlignment = 64;
constexpr size_t kLargePage = size_t{2} << 20;

int64_t rounded_up(int64_t bytes) {
  return (bytes + kArenaAlignment - 1) / kArenaAlignment * kArenaAlignment;
}

at::ScalarType dtype_of(WeightFormat format) {
  return format == WeightFormat::kFloat32 ? at::kFloat : format == WeightFormat::kBFloat16 ? at::kBFloat16 : at::kChar;
}

int64_t rows_of(const std::vector<at::Tensor>& parts) {
  int64_t rows = 0;
  for (const at::Tensor& part : parts) {
    rows += part.size(0);
  }
  return rows;
}

}  // namespace

WeightArena::WeightArena(int64_t bytes) {
  const size_t size = (static_cast<size_t>(std::max<int64_t>(1, bytes)) + kLargePage - 1) / kLargePage * kLargePage;
  const size_t reserved = size + kLargePage;  // so that a large page can begin at the start
  void* const region =
      ::mmap(nullptr, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  require(region != MAP_FAILED, "weights for decoding: expected ", size, " bytes of memory, found less");
  const auto address = reinterpret_cast<uintptr_t>(region);
  auto* const start = reinterpret_cast<uint8_t*>((address + kLargePage - 1) / kLargePage * kLargePage);
  ::madvise(start, size, MADV_HUGEPAGE);
  bytes_ = at::from_blob(
      start, {static_cast<int64_t>(size)}, [region, reserved](void*) { ::munmap(region, reserved); },
      at::TensorOptions(at::kByte));
}

at::Tensor WeightArena::take(at::IntArrayRef sizes, at::ScalarType dtype) {
  const int64_t bytes = c10::multiply_integers(sizes) * static_cast<int64_t>(c10::elementSize(dtype));
  if (used_ + bytes > bytes_.numel()) {
    throw std::logic_error("WeightArena: more weights than room");
  }
  const at::Tensor taken = bytes_.narrow(0, used_, bytes).view(dtype).view(sizes);
  used_ += rounded_up(bytes);
  return taken;
}

int64_t PackedLinear::bytes(const std::vector<at::Tensor>& parts, WeightFormat format) {
  const int64_t rows = rows_of(parts), weights = rows * parts.front().size(1);
  return rounded_up(weights * static_cast<int64_t>(c10::elementSize(dtype_of(format)))) +
         (format == WeightFormat::kInt8 ? rounded_up(4 * rows) : 0);
}

PackedLinear::PackedLinear(const std::vector<at::Tensor>& parts, WeightFormat format, const GemvKernels& kernels,
                           WeightArena& arena)
    : kernels_(&kernels) {
  const int64_t rows = rows_of(parts);
  weights_ = arena.take({rows, parts.front().size(1)}, dtype_of(format));
  if (format == WeightFormat::kInt8) {
    scales_ = arena.take({rows}, at::kFloat);
  }
  int64_t first = 0;
  for (const at::Tensor& part : parts) {
    const at::Tensor weights = part.detach();
    const int64_t count = weights.size(0);
    if (format == WeightFormat::kInt8) {
      // Symmetric, one scale per row: its largest weight becomes 127.
      const at::Tensor scales = weights.abs().amax(1).div_(127.0).clamp_min_(1e-30);
      scales_.narrow(0, first, count).copy_(scales);
      weights_.narrow(0, first, count).copy_(at::div(weights, scales.unsqueeze(1)).round_());
    } else {
      weights_.narrow(0, first, count).copy_(weights);
    }
    first += count;
  }
}

PackedLinear PackedLinear::range(int64_t first, int64_t count) const {
  PackedLinear part;
  part.weights_ = weights_.narrow(0, first, count);
  part.scales_ = scales_.defined() ? scales_.narrow(0, first, count) : at::Tensor();
  part.kernels_ = kernels_;
  return part;
}

at::Tensor PackedLinear::multiply(const at::Tensor& x) const {
  if (x.numel() > kSmallGemmRows * cols() || kernels_ == &kScalarKernels) {
    if (weights_.scalar_type() == at::kFloat) {
      return at::linear(x, weights_);
    }
    if (weights_.scalar_type() == at::kBFloat16 && bfloat16_products().in_large_gemms) {
      return at::linear(x.to(at::kBFloat16), weights_).to(at::kFloat);
    }
  }
  const at::Tensor y = small_gemm(x, weights_, {}, *kernels_);
  return scales_.defined() ? y.mul_(scales_) : y;
}

void PackedLinear::prepare(const float* x, PackedInput& input) const {
  const auto width = static_cast<size_t>(cols());
  input.x = x;
  if (weights_.scalar_type() == at::kBFloat16) {
    input.permuted.resize(width);
    kernels_->permute_input(x, input.permuted.data(), cols());
    input.x = input.permuted.data();
  } else if (scales_.defined()) {
    input.quantized.resize(width);
    input.scale = kernels_->quantize(x, input.quantized.data(), cols());
  }
}

void PackedLinear::multiply(const PackedInput& input, float* y, int64_t begin, int64_t end) const {
  const int64_t width = cols(), offset = begin * width, count = end - begin;
  switch (weights_.scalar_type()) {
    case at::kFloat:
      kernels_->gemv_float32(weights_.const_data_ptr<float>() + offset, input.x, y + begin, count, width);
      break;
    case at::kBFloat16:
      kernels_->gemv_bf16(static_cast<const uint16_t*>(weights_.const_data_ptr()) + offset, input.x, y + begin, count,
                          width);
      break;
    default:
      kernels_->gemv_int8(weights_.const_data_ptr<int8_t>() + offset, scales_.const_data_ptr<float>() + begin,
                          input.quantized.data(), input.scale, y + begin, count, width);
  }
}

void PackedLinear::copy_row(int64_t index, float* out) const {
  at::Tensor row = weights_.select(0, index).to(at::kFloat);
  if (scales_.defined()) {
    row = at::mul(row, scales_.select(0, index));
  }
  std::copy_n(row.const_data_ptr<float>(), cols(), out);
}

}  // namespace minimind
