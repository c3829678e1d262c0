// The kernels of one instruction set, in terms of its lanes. No include guard: each source includes its lanes, then
// this file once. All names lie in the namespace of the instruction set, and no standard template is used: two
// instruction sets never share a symbol, so the linker cannot give one set's code to a processor that lacks it.
//
// The lanes define Vector, kWidth float32 values, and the functions on it. Those that their names do not explain:
//   load(at)                     kWidth values of type float, int8_t or uint16_t (bfloat16), as float32
//   load(at, count, filling)     count < kWidth values, then `filling`
//   store(at, a, count)          the first values, count < kWidth
//   load_even(at), load_odd(at)  every second one of 2 * kWidth bfloat16 values
//   scale_by_power(a, n)         a * 2^n, n whole
//   sum_pairs(a, b, sums)        sums[i] = {sum of a[i], sum of b[i]}
//   dot_add(sum, weights, x)     adds kIntegerWidth products

#include "kernels/small_gemm.inl"

namespace minimind::MINIMIND_ISA {
namespace {

struct Kernels : SmallGemmKernels {
  /// The processor's own prefetcher stops at the end of a page of 4 KB. Prefetching kPrefetchBytes ahead keeps it busy.
  template <int64_t kCount, class Weight>
  MINIMIND_INLINE void prefetch_ahead(const Weight* weights) {
    constexpr int64_t kBytes = kPrefetchBytes > 0 ? kCount * static_cast<int64_t>(sizeof(Weight)) : 0;
    for (int64_t line = 0; line < kBytes; line += 64) {
      __builtin_prefetch(reinterpret_cast<const char*>(weights) + kPrefetchBytes + line);
    }
  }

  // 2 * kWidth weights in two vectors. A bfloat16 is the upper half of a float32: of each pair of weights one is
  // shifted up, the other one is masked.
  MINIMIND_INLINE Vector load_first(const float* at) { return load(at); }
  MINIMIND_INLINE Vector load_second(const float* at) { return load(at + kWidth); }
  MINIMIND_INLINE Vector load_first(const uint16_t* at) { return load_even(at); }
  MINIMIND_INLINE Vector load_second(const uint16_t* at) { return load_odd(at); }

  /// Four sums at a time hide the latency of the additions.
  template <class Weight>
  MINIMIND_TARGET static void gemv(const Weight* weights, const float* x, float* y, int64_t rows, int64_t cols) {
    for (int64_t row = 0; row < rows; ++row, weights += cols) {
      Vector sums[4] = {};
      float rest = 0;
      int64_t c = 0;
      for (; c + 4 * kWidth <= cols; c += 4 * kWidth) {
        prefetch_ahead<4 * kWidth>(weights + c);
        for (int64_t i = 0; i < 4; i += 2) {
          const int64_t at = c + i * kWidth;
          sums[i] = multiply_add(sums[i], load_first(weights + at), load(x + at));
          sums[i + 1] = multiply_add(sums[i + 1], load_second(weights + at), load(x + at + kWidth));
        }
      }
      if (c < cols) {
        if (c + 2 * kWidth <= cols) {
          sums[0] = multiply_add(sums[0], load_first(weights + c), load(x + c));
          sums[1] = multiply_add(sums[1], load_second(weights + c), load(x + c + kWidth));
          c += 2 * kWidth;
        }
        for (; c < cols; ++c) {
          rest += to_float(weights[c]) * x[c];
        }
      }
      y[row] = sum((sums[0] + sums[1]) + (sums[2] + sums[3])) + rest;
    }
  }

  MINIMIND_TARGET static void permute_input(const float* x, float* out, int64_t cols) {
    int64_t c = 0;
    for (; c + 2 * kWidth <= cols; c += 2 * kWidth) {
      for (int64_t i = 0; i < kWidth; ++i) {
        out[c + i] = x[c + 2 * i];
        out[c + kWidth + i] = x[c + 2 * i + 1];
      }
    }
    for (; c < cols; ++c) {
      out[c] = x[c];
    }
  }

  MINIMIND_TARGET static void gemv_int8(const int8_t* weights, const float* scales, const int16_t* x, float x_scale,
                                        float* y, int64_t rows, int64_t cols) {
    for (int64_t row = 0; row < rows; ++row, weights += cols) {
      Integers sums[2] = {};
      int64_t c = 0;
      for (; c + 2 * kIntegerWidth <= cols; c += 2 * kIntegerWidth) {
        prefetch_ahead<2 * kIntegerWidth>(weights + c);
        sums[0] = dot_add(sums[0], weights + c, x + c);
        sums[1] = dot_add(sums[1], weights + c + kIntegerWidth, x + c + kIntegerWidth);
      }
      int32_t total = sum_integers(add_integers(sums[0], sums[1]));
      for (; c < cols; ++c) {
        total += static_cast<int32_t>(weights[c]) * x[c];
      }
      y[row] = static_cast<float>(total) * (scales[row] * x_scale);
    }
  }

  MINIMIND_TARGET static float quantize(const float* x, int16_t* out, int64_t cols) {
    Vector most = {};
    int64_t c = 0;
    for (; c + kWidth <= cols; c += kWidth) {
      most = larger(most, larger(load(x + c), -load(x + c)));
    }
    float magnitude = largest(most);
    for (; c < cols; ++c) {
      const float size = x[c] < 0 ? -x[c] : x[c];
      magnitude = size > magnitude ? size : magnitude;
    }
    const auto levels = static_cast<float>(largest_level(cols));
    const float inverse = magnitude > 0 ? levels / magnitude : 0;
    constexpr float kRounder = 12582912.0F;  // 1.5 * 2^23 leaves no bits for a fraction
    for (c = 0; c < cols; ++c) {
      out[c] = static_cast<int16_t>((x[c] * inverse + kRounder) - kRounder);
    }
    return magnitude / levels;
  }

  /// 2^n times a polynomial on [-ln 2 / 2, ln 2 / 2]; relative error at most 2e-7. Below -80 the result is exp(-80):
  /// smaller attention weights would be denormal numbers, which slow a softmax of 20 scores down by a third.
  MINIMIND_INLINE Vector exp(Vector x) {
    x = larger(smaller(x, broadcast(88.0F)), broadcast(-80.0F));
    const Vector n = round(x * 1.44269504F);
    // ln 2 in two parts; the first one has few digits, so that its product with n is exact.
    Vector r = multiply_add(x, n, broadcast(-0.693359375F));
    r = multiply_add(r, n, broadcast(2.12194440e-4F));
    constexpr float kFactors[] = {1.0F / 720, 1.0F / 120, 1.0F / 24, 1.0F / 6, 0.5F, 1.0F, 1.0F};
    Vector p = broadcast(1.0F / 5040);
    for (const float factor : kFactors) {
      p = multiply_add(broadcast(factor), p, r);
    }
    return scale_by_power(p, n);
  }

  MINIMIND_TARGET static void softmax(float* scores, int64_t count) {
    const int64_t rest = count % kWidth;
    float* const end = scores + count - rest;
    Vector most = broadcast(-3.0e38F), last = most, sums = {};
    for (float* at = scores; at < end; at += kWidth) {
      most = larger(most, load(at));
    }
    if (rest > 0) {
      last = load(end, rest, -3.0e38F);
      most = larger(most, last);
    }
    most = broadcast(largest(most));
    for (float* at = scores; at < end; at += kWidth) {
      const Vector value = exp(load(at) - most);
      sums += value;
      store(at, value);
    }
    if (rest > 0) {
      last = exp(last - most);  // 1e-35 behind the end: too small to change the sum
      sums += last;
    }
    const float scale = 1.0F / sum(sums);
    for (float* at = scores; at < end; at += kWidth) {
      store(at, load(at) * scale);
    }
    if (rest > 0) {
      store(end, last * scale, rest);
    }
  }

  /// kVectors vectors of each row of values.
  template <unsigned kVectors>
  MINIMIND_INLINE void sum_columns(const float* values, const float* weights, float* out, int64_t count,
                                   int64_t width) {
    Vector sums[kVectors] = {};
    for (int64_t p = 0; p < count; ++p, values += width) {
      const Vector weight = broadcast(weights[p]);
      for (unsigned i = 0; i < kVectors; ++i) {
        sums[i] = multiply_add(sums[i], weight, load(values + i * kWidth));
      }
    }
    for (unsigned i = 0; i < kVectors; ++i) {
      store(out + i * kWidth, sums[i]);
    }
  }

  MINIMIND_TARGET static void weighted_sum(const float* values, const float* weights, float* out, int64_t count,
                                           int64_t width) {
    int64_t i = 0;
    for (; i + 4 * kWidth <= width; i += 4 * kWidth) {
      sum_columns<4>(values + i, weights, out + i, count, width);
    }
    if (i + 2 * kWidth <= width) {
      sum_columns<2>(values + i, weights, out + i, count, width);
      i += 2 * kWidth;
    }
    for (; i + kWidth <= width; i += kWidth) {
      sum_columns<1>(values + i, weights, out + i, count, width);
    }
    for (; i < width; ++i) {
      out[i] = 0;
      for (int64_t p = 0; p < count; ++p) {
        out[i] += weights[p] * values[p * width + i];
      }
    }
  }
};

constexpr GemvKernels gemv_kernels(const char* name, bool (*available)()) {
  return {.name = name,
          .available = available,
          .takes_bf16_input = Kernels::kTakesBf16Input,
          .gemv_float32 = Kernels::gemv<float>,
          .gemv_bf16 = Kernels::gemv<uint16_t>,
          .permute_input = Kernels::permute_input,
          .gemv_int8 = Kernels::gemv_int8,
          .quantize = Kernels::quantize,
          .small_gemm_float32 = Kernels::small_gemm<float>,
          .small_gemm_bf16 = Kernels::small_gemm<uint16_t>,
          .small_gemm_int8 = Kernels::small_gemm<int8_t>,
          .softmax = Kernels::softmax,
          .weighted_sum = Kernels::weighted_sum};
}

}  // namespace
}  // namespace minimind::MINIMIND_ISA
