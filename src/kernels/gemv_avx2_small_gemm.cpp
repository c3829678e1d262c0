#include "kernels/avx2.h"

#if defined(__x86_64__)

namespace minimind::detail {

namespace {

/// A tile of the product of few rows: kRows rows of x with kColumns rows of weights, over [begin, end) of the columns.
/// Twelve sums in registers for seven loads: the arithmetic units are the limit, not the caches.
template <class Weight, int kRows, int kColumns>
MINIMIND_AVX2_INLINE void few_rows_tile(const Weight* weights, const SmallGemm& product, int64_t first_row,
                                        int64_t first_column, int64_t begin, int64_t end) {
  const int64_t cols = product.cols;
  const float* const x = product.x + first_row * cols;
  weights += first_column * cols;
  __m256 sums[kRows][kColumns];
  for (int r = 0; r < kRows; ++r) {
    for (int c = 0; c < kColumns; ++c) {
      sums[r][c] = _mm256_setzero_ps();
    }
  }
  int64_t k = begin;
  for (; k + 8 <= end; k += 8) {
    __m256 w[kColumns];
    for (int c = 0; c < kColumns; ++c) {
      w[c] = load8(weights + c * cols + k);
    }
    for (int r = 0; r < kRows; ++r) {
      const __m256 row = load8(x + r * cols + k);
      for (int c = 0; c < kColumns; ++c) {
        sums[r][c] = _mm256_fmadd_ps(row, w[c], sums[r][c]);
      }
    }
  }
  for (int c = 0; c < kColumns; ++c) {
    float total[4];
    const __m256 none = _mm256_setzero_ps();
    _mm_storeu_ps(total, sums_of(sums[0][c], kRows > 1 ? sums[1 % kRows][c] : none,
                                 kRows > 2 ? sums[2 % kRows][c] : none, kRows > 3 ? sums[3 % kRows][c] : none));
    for (int r = 0; r < kRows; ++r) {
      for (int64_t rest = k; rest < end; ++rest) {
        total[r] += x[r * cols + rest] * one(weights[c * cols + rest]);
      }
      float& y = product.y[(first_row + r) * product.y_stride + first_column + c];
      y = begin == 0 ? total[r] : y + total[r];
    }
  }
}

template <class Weight, int kColumns>
MINIMIND_AVX2_INLINE void few_rows_columns(const Weight* weights, const SmallGemm& product, int64_t column,
                                           int64_t begin, int64_t end) {
  int64_t row = 0;
  for (; row + 4 <= product.count; row += 4) {
    fetch_ahead(weights, product, kColumns, column, row, begin, end);
    few_rows_tile<Weight, 4, kColumns>(weights, product, row, column, begin, end);
  }
  switch (product.count - row) {
    case 3:
      few_rows_tile<Weight, 3, kColumns>(weights, product, row, column, begin, end);
      break;
    case 2:
      few_rows_tile<Weight, 2, kColumns>(weights, product, row, column, begin, end);
      break;
    case 1:
      few_rows_tile<Weight, 1, kColumns>(weights, product, row, column, begin, end);
      break;
    default:
      break;
  }
}

/// Blocks of columns whose x stays in the second-level cache.
template <class Weight>
MINIMIND_AVX2 void avx2_rows(const Weight* weights, const SmallGemm& product) {
  constexpr int64_t kBlock = 1024;
  for (int64_t begin = 0; begin < product.cols; begin += kBlock) {
    const int64_t end = begin + kBlock < product.cols ? begin + kBlock : product.cols;
    int64_t column = 0;
    for (; column + 3 <= product.rows; column += 3) {
      few_rows_columns<Weight, 3>(weights, product, column, begin, end);
    }
    for (; column < product.rows; ++column) {
      few_rows_columns<Weight, 1>(weights, product, column, begin, end);
    }
  }
}

}  // namespace

void avx2_small_gemm_float32(const float* weights, const SmallGemm& product) {
  avx2_rows(weights, product);
}

void avx2_small_gemm_bf16(const uint16_t* weights, const SmallGemm& product) {
  avx2_rows(weights, product);
}

void avx2_small_gemm_int8(const int8_t* weights, const SmallGemm& product) {
  avx2_rows(weights, product);
}

}  // namespace minimind::detail

#endif
