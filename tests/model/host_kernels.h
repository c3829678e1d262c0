#pragma once

#include <c10/util/Half.h>

#include <bit>
#include <cmath>
#include <cstdint>

// The GPU kernels as functions of the host: blocks and threads are loops, and each number type has a namespace.

namespace minimind::testing::host {

struct Index {
  unsigned x = 0;
};
inline thread_local Index blockIdx, threadIdx, blockDim;

inline float __uint_as_float(unsigned bits) {
  return std::bit_cast<float>(bits);
}
inline unsigned __float_as_uint(float value) {
  return std::bit_cast<unsigned>(value);
}
inline float float_of_half_bits(uint16_t bits) {
  return c10::Half(bits, c10::Half::from_bits());
}
inline uint16_t half_bits_of_float(float value) {
  return c10::Half(value).x;
}

#ifndef __device__
#define __device__
#endif
#ifndef __forceinline__
#define __forceinline__ inline
#endif

namespace float32 {
#include "model/ops/gpu/numbers.cuh"
#include "model/ops/gpu/quick_gelu.cuh"
#include "model/ops/gpu/rope.cuh"
#include "model/ops/gpu/swiglu.cuh"
}  // namespace float32
#undef MINIMIND_KERNEL
#define MINIMIND_BFLOAT16
namespace bfloat16 {
#include "model/ops/gpu/numbers.cuh"
#include "model/ops/gpu/quick_gelu.cuh"
#include "model/ops/gpu/rope.cuh"
#include "model/ops/gpu/swiglu.cuh"
}  // namespace bfloat16
#undef MINIMIND_KERNEL
#undef MINIMIND_BFLOAT16
#define MINIMIND_FLOAT16
namespace float16 {
#include "model/ops/gpu/numbers.cuh"
#include "model/ops/gpu/quick_gelu.cuh"
#include "model/ops/gpu/rope.cuh"
#include "model/ops/gpu/swiglu.cuh"
}  // namespace float16
#undef MINIMIND_KERNEL
#undef MINIMIND_FLOAT16

#define MINIMIND_HOST_KERNELS(Name, types)                          \
  struct Name {                                                     \
    using Number = types::Number;                                   \
    static constexpr auto swiglu = types::swiglu;                   \
    static constexpr auto swiglu_backward = types::swiglu_backward; \
    static constexpr auto quick_gelu = types::quick_gelu;           \
    static constexpr auto rope = types::rope;                       \
    static constexpr int64_t kPack = types::kPack;                  \
  }
MINIMIND_HOST_KERNELS(Float32, float32);
MINIMIND_HOST_KERNELS(BFloat16, bfloat16);
MINIMIND_HOST_KERNELS(Float16, float16);
#undef MINIMIND_HOST_KERNELS

/// Calls kernel(arguments…) as each thread of each block.
template <class Kernel, class... Arguments>
void run(int64_t blocks, int64_t threads, Kernel kernel, Arguments... arguments) {
  blockDim.x = static_cast<unsigned>(threads);
  for (blockIdx.x = 0; blockIdx.x < blocks; ++blockIdx.x) {
    for (threadIdx.x = 0; threadIdx.x < threads; ++threadIdx.x) {
      kernel(arguments...);
    }
  }
}

}  // namespace minimind::testing::host
