#pragma once

#include <cstdint>

namespace minimind {

struct SmallGemm;

/// Whether processor and operating system let a program multiply tiles of bfloat16 (Intel AMX).
bool amx_available();

/// GemvKernels::small_gemm_bf16 in tiles of 16 rows and 32 columns. Shapes that do not fill tiles go to kAvx512Kernels.
void amx_small_gemm_bf16(const uint16_t* weights, const SmallGemm& gemm);

}  // namespace minimind
