#include "minimind/model/rope.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <stdexcept>

namespace minimind {

namespace {

constexpr int64_t kFewestPositions = 512;

at::Tensor compute_rotations(int64_t head_dim, int64_t positions, const at::Device& device) {
  // Float32 arithmetic in the reference's order: released weights were trained with exactly these angles.
  const at::Tensor exponents = at::arange(0, head_dim, 2, at::kFloat).div(static_cast<double>(head_dim));
  const at::Tensor frequencies = at::pow(RopeTable::kTheta, exponents).reciprocal();
  const at::Tensor angles = at::outer(at::arange(positions, at::kFloat), frequencies);  // [positions, d/2]
  return at::polar(at::ones_like(angles), angles).to(device);
}

}  // namespace

RopeSlice RopeTable::slice(int64_t start, int64_t count, const at::Device& device) {
  if (start < 0 || count < 0) {
    throw std::logic_error("RopeTable::slice: negative start or count");
  }
  const int64_t needed = start + count;
  if (!table_.defined() || table_.device() != device || table_.size(0) < needed) {
    const int64_t held = table_.defined() ? table_.size(0) : 0;
    table_ = compute_rotations(head_dim_, std::max({needed, 2 * held, kFewestPositions}), device);
  }
  return {table_.narrow(0, start, count)};
}

at::Tensor apply_rope(const at::Tensor& heads, const RopeSlice& rope) {
  const int64_t pairs = heads.size(-1) / 2;
  const at::Tensor wide = heads.to(at::kFloat);
  const at::Tensor complex = at::view_as_complex(wide.reshape({heads.size(0), heads.size(1), heads.size(2), pairs, 2}));
  const at::Tensor rotated = complex * rope.rotations.unsqueeze(1);  // [B, S, n, d/2]
  return at::view_as_real(rotated).flatten(-2).to(heads.scalar_type());
}

}  // namespace minimind
