#include "infer/row_matrix.h"

#include <ATen/Functions.h>
#include <sys/mman.h>

#include <algorithm>
#include <stdexcept>

#include "minimind/base/error.h"
#include "model/few_rows.h"

namespace minimind::detail {

namespace {

constexpr int64_t kArenaAlignment = 64;
constexpr size_t kLargePage = size_t{2} << 20;

int64_t rounded_up(int64_t bytes) {
  return (bytes + kArenaAlignment - 1) / kArenaAlignment * kArenaAlignment;
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

int64_t RowMatrix::bytes(int64_t weights, int64_t rows, WeightFormat format) {
  switch (format) {
    case WeightFormat::kFloat32:
      return rounded_up(4 * weights);
    case WeightFormat::kBFloat16:
      return rounded_up(2 * weights);
    default:
      return rounded_up(weights) + rounded_up(4 * rows);
  }
}

RowMatrix::RowMatrix(const std::vector<at::Tensor>& parts, WeightFormat format, const GemvKernels& kernels,
                     WeightArena& arena)
    : kernels_(&kernels) {
  int64_t rows = 0;
  for (const at::Tensor& part : parts) {
    rows += part.size(0);
  }
  const at::ScalarType dtype = format == WeightFormat::kFloat32    ? at::kFloat
                               : format == WeightFormat::kBFloat16 ? at::kBFloat16
                                                                   : at::kChar;
  weights_ = arena.take({rows, parts.front().size(1)}, dtype);
  if (format == WeightFormat::kInt8) {
    scales_ = arena.take({rows}, at::kFloat);
  }
  int64_t first = 0;
  for (const at::Tensor& part : parts) {
    const at::Tensor plain = part.detach();
    const int64_t count = plain.size(0);
    if (format == WeightFormat::kInt8) {
      // Symmetric, a scale for each row: its largest weight becomes 127.
      const at::Tensor scales = plain.abs().amax(1).div_(127.0).clamp_min_(1e-30);
      scales_.narrow(0, first, count).copy_(scales);
      weights_.narrow(0, first, count).copy_(at::div(plain, scales.unsqueeze(1)).round_());
    } else {
      weights_.narrow(0, first, count).copy_(plain);
    }
    first += count;
  }
}

void RowMatrix::prepare(const float* x, RowInput& input) const {
  const auto width = static_cast<size_t>(cols());
  input.x = x;
  if (weights_.scalar_type() == at::kBFloat16) {
    input.values.resize(width);
    kernels_->permute_input(x, input.values.data(), cols());
    input.x = input.values.data();
  } else if (scales_.defined()) {
    input.quanta.resize(width);
    input.scale = kernels_->quantize(x, input.quanta.data(), cols());
  }
}

void RowMatrix::multiply(const RowInput& input, float* y, int64_t begin, int64_t end) const {
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
                          input.quanta.data(), input.scale, y + begin, count, width);
  }
}

at::Tensor RowMatrix::multiply(const at::Tensor& x) const {
  if (x.size(0) > kFewRows || kernels_ == &kScalarKernels) {
    if (weights_.scalar_type() == at::kFloat) {
      return at::linear(x, weights_);
    }
    if (weights_.scalar_type() == at::kBFloat16 && has_bfloat16_products()) {
      return at::linear(x.to(at::kBFloat16), weights_).to(at::kFloat);
    }
  }
  const at::Tensor plain = x.contiguous();
  at::Tensor y = at::empty({x.size(0), rows()}, x.options());
  few_rows_product(*kernels_, weights_, plain.const_data_ptr<float>(), x.size(0), y.mutable_data_ptr<float>());
  return scales_.defined() ? y.mul_(scales_) : y;
}

void RowMatrix::copy_row(int64_t index, float* out) const {
  at::Tensor row = weights_.select(0, index).to(at::kFloat);
  if (scales_.defined()) {
    row = at::mul(row, scales_.select(0, index));
  }
  std::copy_n(row.const_data_ptr<float>(), cols(), out);
}

}  // namespace minimind::detail
