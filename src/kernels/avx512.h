#pragma once

// Pieces of the AVX-512 kernels. No standard template here: every function is compiled for that instruction set.

#include "kernels/avx2.h"

#if defined(__x86_64__)

#if !defined(__clang__)
// GCC 12 takes the intrinsics' own undefined operands for a mistake (its bug 105593). Files that include this one stay
// out of unity builds, so that no other file loses the warnings.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

#define MINIMIND_AVX512_SET "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma"
#define MINIMIND_AVX512 __attribute__((target(MINIMIND_AVX512_SET)))
#define MINIMIND_AVX512_INLINE __attribute__((target(MINIMIND_AVX512_SET), always_inline)) inline

namespace minimind::detail {

/// A mask of the lowest `count` of 16 or 32 lanes.
inline uint32_t first_lanes(int64_t count) {
  return static_cast<uint32_t>((uint64_t{1} << count) - 1);
}

void avx512_small_gemm_float32(const float* weights, const SmallGemm& product);
void avx512_small_gemm_bf16(const uint16_t* weights, const SmallGemm& product);
void avx512_small_gemm_int8(const int8_t* weights, const SmallGemm& product);

/// Whether processor and system let a program multiply tiles of bfloat16 (Intel's AMX).
bool amx_available();
/// avx512_small_gemm_bf16() in tiles of 16 rows and 32 columns; what does not fill them goes the other way.
void amx_small_gemm_bf16(const uint16_t* weights, const SmallGemm& product);

}  // namespace minimind::detail

#endif
