#pragma once

#include <cstdint>
#include <string>

#include "kernels/gemv.h"
#include "minimind/model/config.h"

namespace minimind {

/// How this machine multiplies matrices in bfloat16 on a CPU: with the processor's bfloat16 products, or with float32
/// products of the widened numbers. Only their speed decides: float32 products are at least as exact.
struct Bfloat16Products {
  bool in_large_gemms = false;  ///< LibTorch's: training, long prompts, several images
  bool in_small_gemms = false;  ///< our own: a prompt, an image
  // Speed of bfloat16 products over float32 products; 0: not measured, because the processor has none or the user has
  // chosen.
  double large_gain = 0;
  double small_gain = 0;

  /// For the log: "bfloat16 products: 1.9x float32 on this processor".
  std::string text(bool large) const;
};

/// Whether the processor multiplies bfloat16 itself.
bool processor_has_bfloat16();

/// The choice of this process, made at the first call. The environment variable MINIMIND_BFLOAT16 (products or float32)
/// forces it. Without it the products are measured once for a processor: the choice is kept in the file
/// ~/.cache/minimind/bfloat16-*.json (below XDG_CACHE_HOME if set), so that the same command gives the same numbers.
/// Throws Error if the variable has another value.
const Bfloat16Products& bfloat16_products();

/// Measures both gains in one thread in some 50 ms, with the shapes of a model of width 512.
Bfloat16Products measure_bfloat16_products();

/// The kept choice, or else the choice that `measure` makes, which is kept then. `key` names the processor. A file of
/// another key, or one that cannot be read, does not count. A folder that cannot be written is no error.
Bfloat16Products kept_bfloat16_products(const std::string& folder, const std::string& key,
                                        Bfloat16Products (*measure)());

/// best_gemv_kernels(), but small_gemm_bf16() widens weights to float32 and leaves the input as it is.
const GemvKernels& widening_kernels();

/// The kernels for weights of this format: best_gemv_kernels(), or for bfloat16 widening_kernels() if its products do
/// not pay in small GEMMs.
const GemvKernels& gemm_kernels(WeightFormat format);

}  // namespace minimind
