// The small GEMM of one instruction set: gemv.inl includes it, and says what the lanes define. Further constants:
//   kBlockBytes    of an input row: such a block of all input rows stays in the second-level cache
//   kTileRows      weight rows of a tile: as many as the registers take with four input rows

#include "kernels/to_float.h"

namespace minimind::MINIMIND_ISA {
namespace {

using detail::to_float;

struct SmallGemmKernels : Lanes {
  MINIMIND_INLINE void store(float* at, Vector a) { __builtin_memcpy(at, &a, sizeof(a)); }
  using Lanes::store;

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
    Vector sums[kRows][4] = {};
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
      const bool both = r + 1 < kRows, adds = place.begin > 0;
      Pair pairs[4];
      sum_pairs(sums[r], sums[both ? r + 1 : r], pairs);
      for (unsigned i = 0; i < kInputs; ++i) {
        store_pair(y + i * gemm.y_stride + r, pairs[i], both, adds);
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
    for (int64_t row = place.row + kRows; row < place.row + 2 * int64_t{kRows} && row < gemm.rows; ++row) {
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
};

}  // namespace
}  // namespace minimind::MINIMIND_ISA
