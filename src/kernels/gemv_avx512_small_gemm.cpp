#include "kernels/avx512.h"

#if defined(__x86_64__)

namespace minimind::detail {

namespace {

/// How a lane of weights is multiplied with a lane of x: kStep numbers of each, added to 16 sums.
struct Float32Lanes {
  using Weight = float;
  using Input = float;
  using Lane = __m512;
  static constexpr int64_t kStep = 16;
  static constexpr int64_t kBlock = 768;
  static const Input* input(const SmallGemm& product) { return product.x; }
  MINIMIND_AVX512_INLINE static Lane weights(const Weight* at) { return _mm512_loadu_ps(at); }
  MINIMIND_AVX512_INLINE static Lane weights(const Weight* at, uint32_t mask) {
    return _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), at);
  }
  MINIMIND_AVX512_INLINE static Lane inputs(const Input* at) { return _mm512_loadu_ps(at); }
  MINIMIND_AVX512_INLINE static Lane inputs(const Input* at, uint32_t mask) {
    return _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), at);
  }
  MINIMIND_AVX512_INLINE static __m512 add(__m512 sum, Lane weight, Lane input) {
    return _mm512_fmadd_ps(weight, input, sum);
  }
};

struct Int8Lanes : Float32Lanes {
  using Weight = int8_t;
  MINIMIND_AVX512_INLINE static Lane weights(const Weight* at) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at))));
  }
  MINIMIND_AVX512_INLINE static Lane weights(const Weight* at, uint32_t mask) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(static_cast<__mmask16>(mask), at)));
  }
};

struct BFloat16Lanes {
  using Weight = uint16_t;
  using Input = uint16_t;
  using Lane = __m512bh;
  static constexpr int64_t kStep = 32;
  static constexpr int64_t kBlock = 1536;
  static const Input* input(const SmallGemm& product) { return product.bf16_x; }
  MINIMIND_AVX512_INLINE static Lane weights(const Weight* at) { return (Lane)_mm512_loadu_si512(at); }
  MINIMIND_AVX512_INLINE static Lane weights(const Weight* at, uint32_t mask) {
    return (Lane)_mm512_maskz_loadu_epi16(mask, at);
  }
  MINIMIND_AVX512_INLINE static Lane inputs(const Input* at) { return weights(at); }
  MINIMIND_AVX512_INLINE static Lane inputs(const Input* at, uint32_t mask) { return weights(at, mask); }
  MINIMIND_AVX512_INLINE static __m512 add(__m512 sum, Lane weight, Lane input) {
    return _mm512_dpbf16_ps(sum, weight, input);
  }
};

/// Four numbers of each of four vectors, whose sum is that of the vector: a's in the lowest quarter.
MINIMIND_AVX512_INLINE __m512 quarters_of(__m512 a, __m512 b, __m512 c, __m512 d) {
  const __m512 ab = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xEE));
  const __m512 cd = _mm512_add_ps(_mm512_shuffle_f32x4(c, d, 0x44), _mm512_shuffle_f32x4(c, d, 0xEE));
  return _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xDD));
}

/// Two neighbouring results of each of up to four rows; `pairs` holds a row's in the two lowest numbers of a quarter.
template <int kRows>
MINIMIND_AVX512_INLINE void store_pairs(__m512 pairs, float* y, int64_t y_stride, bool adds) {
  const __m128 quarters[4] = {_mm512_castps512_ps128(pairs), _mm512_extractf32x4_ps(pairs, 1),
                              _mm512_extractf32x4_ps(pairs, 2), _mm512_extractf32x4_ps(pairs, 3)};
  for (int row = 0; row < kRows; ++row) {
    auto* const place = reinterpret_cast<double*>(y + row * y_stride);
    const __m128 before = adds ? _mm_castpd_ps(_mm_load_sd(place)) : _mm_setzero_ps();
    _mm_store_sd(place, _mm_castps_pd(_mm_add_ps(quarters[row], before)));
  }
}

/// The sums of a column of tiles, for each row.
template <int kRows>
MINIMIND_AVX512_INLINE void store_single(__m512 quarters, float* y, int64_t y_stride, bool adds) {
  float parts[16];
  _mm512_storeu_ps(parts, quarters);
  for (int row = 0; row < kRows; ++row) {
    const float sum = (parts[4 * row] + parts[4 * row + 2]) + (parts[4 * row + 1] + parts[4 * row + 3]);
    y[row * y_stride] = adds ? y[row * y_stride] + sum : sum;
  }
}

/// A tile of the product: kRows rows of x with kColumns rows of weights, over [begin, end) of the columns. With 4 x 6
/// of them 24 sums stay in registers for ten loads.
template <class Lanes, int kRows, int kColumns>
MINIMIND_AVX512_INLINE void multiply_tile(const typename Lanes::Weight* weights, const SmallGemm& product,
                                          int64_t first_row, int64_t first_column, int64_t begin, int64_t end) {
  const int64_t cols = product.cols;
  const typename Lanes::Input* const x = Lanes::input(product) + first_row * cols;
  weights += first_column * cols;
  __m512 sums[kColumns][4];
  for (int c = 0; c < kColumns; ++c) {
    for (int r = 0; r < 4; ++r) {
      sums[c][r] = _mm512_setzero_ps();
    }
  }
  int64_t k = begin;
  for (; k + Lanes::kStep <= end; k += Lanes::kStep) {
    typename Lanes::Lane rows[kRows];
    for (int r = 0; r < kRows; ++r) {
      rows[r] = Lanes::inputs(x + r * cols + k);
    }
    for (int c = 0; c < kColumns; ++c) {
      const typename Lanes::Lane weight = Lanes::weights(weights + c * cols + k);
      for (int r = 0; r < kRows; ++r) {
        sums[c][r] = Lanes::add(sums[c][r], weight, rows[r]);
      }
    }
  }
  if (k < end) {
    const uint32_t mask = first_lanes(end - k);
    for (int c = 0; c < kColumns; ++c) {
      const typename Lanes::Lane weight = Lanes::weights(weights + c * cols + k, mask);
      for (int r = 0; r < kRows; ++r) {
        sums[c][r] = Lanes::add(sums[c][r], weight, Lanes::inputs(x + r * cols + k, mask));
      }
    }
  }
  float* const y = product.y + first_row * product.y_stride + first_column;
  const bool adds = begin != 0;
  int c = 0;
  for (; c + 2 <= kColumns; c += 2) {
    const __m512 a = quarters_of(sums[c][0], sums[c][1], sums[c][2], sums[c][3]);
    const __m512 b = quarters_of(sums[c + 1][0], sums[c + 1][1], sums[c + 1][2], sums[c + 1][3]);
    const __m512 halves = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    store_pairs<kRows>(_mm512_add_ps(halves, _mm512_shuffle_ps(halves, halves, 0x4E)), y + c, product.y_stride, adds);
  }
  if (c < kColumns) {
    store_single<kRows>(quarters_of(sums[c][0], sums[c][1], sums[c][2], sums[c][3]), y + c, product.y_stride, adds);
  }
}

template <class Lanes, int kColumns>
MINIMIND_AVX512_INLINE void multiply_columns(const typename Lanes::Weight* weights, const SmallGemm& product,
                                             int64_t column, int64_t begin, int64_t end) {
  int64_t row = 0;
  for (; row + 4 <= product.count; row += 4) {
    fetch_ahead(weights, product, kColumns, column, row, begin, end);
    multiply_tile<Lanes, 4, kColumns>(weights, product, row, column, begin, end);
  }
  switch (product.count - row) {
    case 3:
      multiply_tile<Lanes, 3, kColumns>(weights, product, row, column, begin, end);
      break;
    case 2:
      multiply_tile<Lanes, 2, kColumns>(weights, product, row, column, begin, end);
      break;
    case 1:
      multiply_tile<Lanes, 1, kColumns>(weights, product, row, column, begin, end);
      break;
    default:
      break;
  }
}

/// Blocks of columns: the weights of a tile stay in the first-level cache, all of x in the second.
template <class Lanes>
MINIMIND_AVX512_INLINE void multiply_rows(const typename Lanes::Weight* weights, const SmallGemm& product) {
  for (int64_t begin = 0; begin < product.cols; begin += Lanes::kBlock) {
    const int64_t end = begin + Lanes::kBlock < product.cols ? begin + Lanes::kBlock : product.cols;
    int64_t column = 0;
    for (; column + 6 <= product.rows; column += 6) {
      multiply_columns<Lanes, 6>(weights, product, column, begin, end);
    }
    for (; column < product.rows; ++column) {
      multiply_columns<Lanes, 1>(weights, product, column, begin, end);
    }
  }
}

}  // namespace

MINIMIND_AVX512 void avx512_small_gemm_float32(const float* weights, const SmallGemm& product) {
  multiply_rows<Float32Lanes>(weights, product);
}

MINIMIND_AVX512 void avx512_small_gemm_bf16(const uint16_t* weights, const SmallGemm& product) {
  multiply_rows<BFloat16Lanes>(weights, product);
}

MINIMIND_AVX512 void avx512_small_gemm_int8(const int8_t* weights, const SmallGemm& product) {
  multiply_rows<Int8Lanes>(weights, product);
}

}  // namespace minimind::detail

#endif
