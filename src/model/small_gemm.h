#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/gemv.h"

namespace minimind {

/// Our own GEMM kernels are for at most so many input rows: a prompt, an image. Beyond that LibTorch's GEMMs are as
/// fast.
inline constexpr int64_t kSmallGemmRows = 128;

/// Whether small_gemm() may replace a float32 linear layer: CPU, vector kernels, no gradients, no autocast, float32
/// input of at most kSmallGemmRows rows, float32 or bfloat16 weights.
bool small_gemm_serves(const at::Tensor& input, const at::Tensor& weight);

/// input float32 [..., cols] · weight [rows, cols]^T (+ bias [rows]) → float32 [..., rows], in as many threads as
/// LibTorch uses. weight: float32, bfloat16 or int8 without its scales. Reads each weight once per kSmallGemmRows rows
/// and unpacks it in registers; kernels with `takes_bf16_input` round the input to bfloat16 for weights in bfloat16.
at::Tensor small_gemm(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias = {},
                      const GemvKernels& kernels = best_gemv_kernels());

}  // namespace minimind
