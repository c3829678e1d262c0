// The kernels of one instruction set, in terms of its lanes. No include guard: each source includes its lanes, then this
// file once. All names lie in the namespace of the instruction set, and no standard template is used: two
// instruction sets never share a symbol, so the linker cannot give one set's code to a processor that lacks it.
//
// The lanes define Vector, kWidth float32 values, and the functions on it. Those that their names do not explain:
//   load(at)                       kWidth values of type float, int8_t or uint16_t (bfloat16), as float32
//   load(at, count, filling)       count < kWidth values, then `filling`; store(at, a, count) stores the first ones
//   load_even(at), load_odd(at)    every second one of 2 * kWidth values
//   store_levels(at, a)            rounded to int16_t
//   scale_by_power(a, n)           a * 2^n, n whole
//   sum_pairs(a, b, sums)          sums[i] = {sum of a[i], sum of b[i]}
//   dot_add(sum, weights, x)       adds kIntegerWidth products
// kBlockBytes: of an input row, so that a block of all rows stays in the second-level cache. kTileRows: see
// multiply_tile(). kPrefetchBytes: see prefetch_ahead().

#include "kernels/to_float.h"

namespace minimind::MINIMIND_ISA {
namespace {

using detail::to_float;

struct Kernels : Lanes {
  /// The processor's own prefetcher stops at the end of a page of 4 KB. Prefetching kPrefetchBytes ahead keeps it busy.
  template <int64_t kBytes>
  MINIMIND_INLINE void prefetch_ahead(const void* at) {
    for (int64_t line = 0; kPrefetchBytes > 0 && line < kBytes; line += 64) {
      __builtin_prefetch(static_cast<const char*>(at) + kPrefetchBytes + line);
    }
  }

  /// Four sums at a time hide the latency of the additions.
  MINIMIND_TARGET static void gemv_float32(const float* weights, const float* x, float* y, int64_t rows, int64_t cols) {
    for (int64_t row = 0; row < rows; ++row, weights += cols) {
      Vector sums[4] = {broadcast(0), broadcast(0), broadcast(0), broadcast(0)};
      int64_t c = 0;
      for (; c + 4 * kWidth <= cols; c += 4 * kWidth) {
        prefetch_ahead<4 * kWidth * 4>(weights + c);
        for (int64_t i = 0; i < 4; ++i) {
          sums[i] = multiply_add(sums[i], load(weights + c + i * kWidth), load(x + c + i * kWidth));
        }
      }
      float rest = 0;
      if (c < cols) {
        for (; c + kWidth <= cols; c += kWidth) {
          sums[0] = multiply_add(sums[0], load(weights + c), load(x + c));
        }
        for (; c < cols; ++c) {
          rest += weights[c] * x[c];
        }
      }
      y[row] = sum(add(add(sums[0], sums[1]), add(sums[2], sums[3]))) + rest;
    }
  }

  /// A bfloat16 is the upper half of a float32: of each pair of weights one is shifted up, the other one is masked.
  MINIMIND_TARGET static void gemv_bf16(const uint16_t* weights, const float* x, float* y, int64_t rows, int64_t cols) {
    for (int64_t row = 0; row < rows; ++row, weights += cols) {
      Vector sums[4] = {broadcast(0), broadcast(0), broadcast(0), broadcast(0)};
      int64_t c = 0;
      for (; c + 4 * kWidth <= cols; c += 4 * kWidth) {
        prefetch_ahead<4 * kWidth * 2>(weights + c);
        for (int64_t i = 0; i < 4; i += 2) {
          const int64_t at = c + i * kWidth;
          sums[i] = multiply_add(sums[i], load_even(weights + at), load(x + at));
          sums[i + 1] = multiply_add(sums[i + 1], load_odd(weights + at), load(x + at + kWidth));
        }
      }
      for (; c + 2 * kWidth <= cols; c += 2 * kWidth) {
        sums[0] = multiply_add(sums[0], load_even(weights + c), load(x + c));
        sums[1] = multiply_add(sums[1], load_odd(weights + c), load(x + c + kWidth));
      }
      float total = sum(add(add(sums[0], sums[1]), add(sums[2], sums[3])));
      for (; c < cols; ++c) {
        total += to_float(weights[c]) * x[c];
      }
      y[row] = total;
    }
  }

  MINIMIND_TARGET static void permute_input(const float* x, float* out, int64_t cols) {
    int64_t c = 0;
    for (; c + 2 * kWidth <= cols; c += 2 * kWidth) {
      const Vector even = load_even(x + c), odd = load_odd(x + c);
      store(out + c, even);
      store(out + c + kWidth, odd);
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
    Vector most = broadcast(0);
    int64_t c = 0;
    for (; c + kWidth <= cols; c += kWidth) {
      most = larger(most, absolute(load(x + c)));
    }
    float magnitude = largest(most);
    for (; c < cols; ++c) {
      const float size = x[c] < 0 ? -x[c] : x[c];
      magnitude = size > magnitude ? size : magnitude;
    }
    const auto levels = static_cast<float>(largest_level(cols));
    const float inverse = magnitude > 0 ? levels / magnitude : 0;
    for (c = 0; c + kWidth <= cols; c += kWidth) {
      store_levels(out + c, multiply(load(x + c), broadcast(inverse)));
    }
    for (; c < cols; ++c) {
      const float level = x[c] * inverse;
      out[c] = static_cast<int16_t>(level < 0 ? level - 0.5F : level + 0.5F);
    }
    return magnitude / levels;
  }

  /// The input in the type that is multiplied with weights of this type.
  template <class Weight>
  MINIMIND_INLINE const auto* input_for(const SmallGemm& gemm, const Weight*) {
    if constexpr (kTakesBf16Input && sizeof(Weight) == sizeof(uint16_t)) {
      return gemm.bf16_x;
    } else {
      return gemm.x;
    }
  }

  /// Where a tile lies: the first input row, the first weight row, the columns [begin, end).
  struct Place {
    int64_t input;
    int64_t row;
    int64_t begin;
    int64_t end;
  };

  /// Stores or adds both values of a pair, or the first one.
  MINIMIND_INLINE void store_pair(float* at, Pair values, bool both, bool adds) {
    if (both) {
      Pair before = {0, 0};
      if (adds) {
        __builtin_memcpy(&before, at, sizeof(before));
      }
      values += before;
      __builtin_memcpy(at, &values, sizeof(values));
    } else {
      *at = values[0] + (adds ? *at : 0);
    }
  }

  /// A tile of the small GEMM: kInputs input rows times kRows weight rows. The sums stay in registers over all columns,
  /// so that arithmetic limits the speed, not the caches.
  template <unsigned kInputs, unsigned kRows, class Weight>
  MINIMIND_INLINE void multiply_tile(const Weight* weights, const SmallGemm& gemm, const Place& place) {
    const int64_t cols = gemm.cols;
    const auto* const x = input_for(gemm, weights) + place.input * cols;
    weights += place.row * cols;
    constexpr int64_t kStep = static_cast<int64_t>(sizeof(Vector) / sizeof(*x));
    Vector sums[kRows][4];
    for (auto& row : sums) {
      for (Vector& sum : row) {
        sum = broadcast(0);
      }
    }
    int64_t c = place.begin;
    for (; c + kStep <= place.end; c += kStep) {
      // The smaller side stays in registers.
      if constexpr (kRows < kInputs) {
        decltype(load(weights)) w[kRows];
        for (unsigned r = 0; r < kRows; ++r) {
          w[r] = load(weights + r * cols + c);
        }
        for (unsigned i = 0; i < kInputs; ++i) {
          const auto input = load(x + i * cols + c);
          for (unsigned r = 0; r < kRows; ++r) {
            sums[r][i] = multiply_add(sums[r][i], w[r], input);
          }
        }
      } else {
        decltype(load(x)) inputs[kInputs];
        for (unsigned i = 0; i < kInputs; ++i) {
          inputs[i] = load(x + i * cols + c);
        }
        for (unsigned r = 0; r < kRows; ++r) {
          const auto weight = load(weights + r * cols + c);
          for (unsigned i = 0; i < kInputs; ++i) {
            sums[r][i] = multiply_add(sums[r][i], weight, inputs[i]);
          }
        }
      }
    }
    float* const y = gemm.y + place.input * gemm.y_stride + place.row;
    for (unsigned r = 0; r < kRows; r += 2) {
      constexpr unsigned kLast = kRows - 1;
      Pair pairs[4];
      sum_pairs(sums[r], sums[r < kLast ? r + 1 : r], pairs);
      for (unsigned i = 0; i < kInputs; ++i) {
        store_pair(y + i * gemm.y_stride + r, pairs[i], r<kLast, place.begin> 0);
      }
    }
    for (; c < place.end; ++c) {
      for (unsigned i = 0; i < kInputs; ++i) {
        for (unsigned r = 0; r < kRows; ++r) {
          y[i * gemm.y_stride + r] += to_float(x[i * cols + c]) * to_float(weights[r * cols + c]);
        }
      }
    }
  }

  /// Prefetches the weights of the next tile's rows, a part for each tile of these rows: they come from memory while
  /// tiles are multiplied.
  template <unsigned kRows, class Weight>
  MINIMIND_INLINE void prefetch_next_rows(const Weight* weights, const SmallGemm& gemm, const Place& place) {
    constexpr int64_t kLine = 64 / static_cast<int64_t>(sizeof(Weight));
    const int64_t lines = (place.end - place.begin + kLine - 1) / kLine;
    const int64_t first = lines * place.input / gemm.count;
    const int64_t last = place.input + 4 < gemm.count ? lines * (place.input + 4) / gemm.count : lines;
    for (int64_t row = place.row + kRows; row < place.row + 2 * kRows && row < gemm.rows; ++row) {
      for (int64_t line = first; line < last; ++line) {
        __builtin_prefetch(weights + row * gemm.cols + place.begin + line * kLine);
      }
    }
  }

  template <unsigned kRows, class Weight>
  MINIMIND_INLINE void multiply_rows(const Weight* weights, const SmallGemm& gemm, Place place) {
    for (; place.input + 4 <= gemm.count; place.input += 4) {
      prefetch_next_rows<kRows>(weights, gemm, place);
      multiply_tile<4, kRows>(weights, gemm, place);
    }
    switch (gemm.count - place.input) {
      case 3:
        return multiply_tile<3, kRows>(weights, gemm, place);
      case 2:
        return multiply_tile<2, kRows>(weights, gemm, place);
      case 1:
        return multiply_tile<1, kRows>(weights, gemm, place);
      default:
        return;
    }
  }

  template <class Weight>
  MINIMIND_TARGET static void small_gemm(const Weight* weights, const SmallGemm& gemm) {
    constexpr int64_t kBlock = kBlockBytes / static_cast<int64_t>(sizeof(*input_for(gemm, weights)));
    for (int64_t begin = 0; begin < gemm.cols; begin += kBlock) {
      const int64_t end = begin + kBlock < gemm.cols ? begin + kBlock : gemm.cols;
      int64_t row = 0;
      for (; row + kTileRows <= gemm.rows; row += kTileRows) {
        multiply_rows<kTileRows>(weights, gemm, {0, row, begin, end});
      }
      for (; row < gemm.rows; ++row) {
        multiply_rows<1>(weights, gemm, {0, row, begin, end});
      }
    }
  }

  /// 2^n times a polynomial on [-ln 2 / 2, ln 2 / 2]; relative error at most 2e-7.
  MINIMIND_INLINE Vector exp(Vector x) {
    x = larger(smaller(x, broadcast(88.0F)), broadcast(-87.0F));
    const Vector n = round(multiply(x, broadcast(1.44269504F)));
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

  MINIMIND_INLINE Vector silu(Vector x) { return divide(x, add(broadcast(1), exp(subtract(broadcast(0), x)))); }

  MINIMIND_TARGET static void swiglu(float* gate, const float* up, int64_t count) {
    int64_t i = 0;
    for (; i + kWidth <= count; i += kWidth) {
      store(gate + i, multiply(silu(load(gate + i)), load(up + i)));
    }
    if (i < count) {
      store(gate + i, multiply(silu(load(gate + i, count - i, 0)), load(up + i, count - i, 0)), count - i);
    }
  }

  MINIMIND_TARGET static void softmax(float* scores, int64_t count) {
    const int64_t rest = count % kWidth;
    float* const end = scores + count - rest;
    Vector most = broadcast(-3.0e38F), last = most, sums = broadcast(0);
    for (float* at = scores; at < end; at += kWidth) {
      most = larger(most, load(at));
    }
    if (rest > 0) {
      last = load(end, rest, -3.0e38F);
      most = larger(most, last);
    }
    most = broadcast(largest(most));
    for (float* at = scores; at < end; at += kWidth) {
      const Vector value = exp(subtract(load(at), most));
      sums = add(sums, value);
      store(at, value);
    }
    if (rest > 0) {
      last = exp(subtract(last, most));  // 1e-38 behind the end: too small to change the sum
      sums = add(sums, last);
    }
    const Vector scale = broadcast(1.0F / sum(sums));
    for (float* at = scores; at < end; at += kWidth) {
      store(at, multiply(load(at), scale));
    }
    if (rest > 0) {
      store(end, multiply(last, scale), rest);
    }
  }

  /// kVectors vectors of each row of values.
  template <unsigned kVectors>
  MINIMIND_INLINE void sum_columns(const float* values, const float* weights, float* out, int64_t count,
                                   int64_t width) {
    Vector sums[kVectors];
    for (Vector& sum : sums) {
      sum = broadcast(0);
    }
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
          .gemv_float32 = Kernels::gemv_float32,
          .gemv_bf16 = Kernels::gemv_bf16,
          .permute_input = Kernels::permute_input,
          .gemv_int8 = Kernels::gemv_int8,
          .quantize = Kernels::quantize,
          .small_gemm_float32 = Kernels::small_gemm<float>,
          .small_gemm_bf16 = Kernels::small_gemm<uint16_t>,
          .small_gemm_int8 = Kernels::small_gemm<int8_t>,
          .swiglu = Kernels::swiglu,
          .softmax = Kernels::softmax,
          .weighted_sum = Kernels::weighted_sum};
}

}  // namespace
}  // namespace minimind::MINIMIND_ISA
