#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/gemv.h"

namespace minimind {

/// Most rows for which our own kernels are meant: a prompt, an image. Beyond them the framework's products are as
/// good.
inline constexpr int64_t kFewRows = 128;

/// Whether few_rows_product() serves: no gradient wanted and no autocast, on a CPU with the kernels, float32 input of
/// at most kFewRows rows, weights in float32 or bfloat16.
bool few_rows_serve(const at::Tensor& input, const at::Tensor& weight);

/// input [..., cols] · weight [rows, cols]^T (+ bias [rows]) → float32 [..., rows], in as many threads as the framework
/// uses. Reads each weight once, bfloat16 without unpacking it in memory; a processor that multiplies bfloat16 itself
/// rounds the input to it too.
at::Tensor few_rows_product(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias = {});

/// The same for any number of rows, by `kernels`; weights in int8 too.
void few_rows_product(const GemvKernels& kernels, const at::Tensor& weight, const float* x, int64_t count, float* y);

/// Whether the processor multiplies bfloat16 itself: then the framework's products of many rows in bfloat16 are fast.
bool has_bfloat16_products();

}  // namespace minimind
