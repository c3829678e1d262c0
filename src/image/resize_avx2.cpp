#include "image/resize_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#define MINIMIND_AVX2 __attribute__((target("avx2")))

namespace minimind::detail {
namespace {

// A coefficient has up to 24 bits, but vpmaddwd multiplies 16-bit words. The kernels therefore sum the products of the
// upper and of the lower parts separately, and join both sums at the end: high * 2048 + low, exact in 32 bits.

/// Two neighbouring coefficients in each 32-bit lane.
MINIMIND_AVX2 inline __m256i pair_of(const int16_t* coefficients) {
  int32_t bits;
  memcpy(&bits, coefficients, sizeof bits);
  return _mm256_set1_epi32(bits);
}

MINIMIND_AVX2 inline __m256i joined(__m256i high, __m256i low) {
  const __m256i half = _mm256_set1_epi32(1 << (kResizeBits - 1));
  const __m256i sum = _mm256_add_epi32(_mm256_slli_epi32(high, kResizeSplit), _mm256_add_epi32(low, half));
  return _mm256_srai_epi32(sum, kResizeBits);
}

MINIMIND_AVX2 inline __m128i load_16(const uint8_t* at) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
}

/// Output pixel x of two rows, one row per 128-bit lane: red, green, blue and an unused word.
MINIMIND_AVX2 inline __m256i two_rows(const uint8_t* a, const uint8_t* b, const AxisView& axis, int32_t x) {
  // Words: r0 r1 g0 g1 b0 b1 - -, and the same of taps 2 and 3.
  const __m256i taps_01 = _mm256_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1,  //
                                           0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1);
  const __m256i taps_23 = _mm256_setr_epi8(6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1,  //
                                           6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1);
  const size_t start = static_cast<size_t>(axis.firsts[x]) * 3;
  const size_t row = static_cast<size_t>(x) * static_cast<size_t>(axis.taps);
  __m256i high = _mm256_setzero_si256();
  __m256i low = _mm256_setzero_si256();
  for (int32_t t = 0; t < axis.counts[x]; t += 4) {
    const size_t at = start + static_cast<size_t>(t) * 3;
    const __m256i pixels = _mm256_inserti128_si256(_mm256_castsi128_si256(load_16(a + at)), load_16(b + at), 1);
    const __m256i first = _mm256_shuffle_epi8(pixels, taps_01);
    const __m256i second = _mm256_shuffle_epi8(pixels, taps_23);
    const int16_t* highs = axis.highs + row + t;
    const int16_t* lows = axis.lows + row + t;
    high = _mm256_add_epi32(high, _mm256_add_epi32(_mm256_madd_epi16(first, pair_of(highs)),
                                                   _mm256_madd_epi16(second, pair_of(highs + 2))));
    low = _mm256_add_epi32(
        low, _mm256_add_epi32(_mm256_madd_epi16(first, pair_of(lows)), _mm256_madd_epi16(second, pair_of(lows + 2))));
  }
  return joined(high, low);
}

/// Stores four output pixels of row y, given as 4 bytes each with the fourth unused.
MINIMIND_AVX2 inline void store_four(__m128i pixels, const PlanarRows& out, size_t y, int32_t x) {
  const __m128i order = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, -1, -1, -1, -1);
  const __m128i planes = _mm_shuffle_epi8(pixels, order);
  const int32_t red = _mm_cvtsi128_si32(planes);
  const int32_t green = _mm_extract_epi32(planes, 1);
  const int32_t blue = _mm_extract_epi32(planes, 2);
  memcpy(out.row(y, 0) + x, &red, 4);
  memcpy(out.row(y, 1) + x, &green, 4);
  memcpy(out.row(y, 2) + x, &blue, 4);
}

MINIMIND_AVX2 void avx2_horizontal(const uint8_t* in, size_t in_stride, int64_t rows, const AxisView& axis,
                                   const PlanarRows& out) {
  const int32_t last = axis.out_size - 1;
  for (int64_t y = 0; y < rows; y += 2) {
    // If the number of rows is odd, the last row is computed twice.
    const auto y0 = static_cast<size_t>(y);
    const size_t y1 = y + 1 < rows ? y0 + 1 : y0;
    const uint8_t* a = in + y0 * in_stride;
    const uint8_t* b = in + y1 * in_stride;
    for (int32_t x = 0; x <= last; x += 4) {
      const __m256i p0 = two_rows(a, b, axis, x);
      const __m256i p1 = two_rows(a, b, axis, x + 1 <= last ? x + 1 : last);
      const __m256i p2 = two_rows(a, b, axis, x + 2 <= last ? x + 2 : last);
      const __m256i p3 = two_rows(a, b, axis, x + 3 <= last ? x + 3 : last);
      const __m256i pixels = _mm256_packus_epi16(_mm256_packs_epi32(p0, p1), _mm256_packs_epi32(p2, p3));
      store_four(_mm256_castsi256_si128(pixels), out, y0, x);
      store_four(_mm256_extracti128_si256(pixels, 1), out, y1, x);
    }
  }
}

/// 16 neighbouring bytes of an output row.
MINIMIND_AVX2 inline __m128i sixteen_columns(const uint8_t* first, size_t in_stride, const int16_t* highs,
                                             const int16_t* lows, int32_t count) {
  __m256i high_0 = _mm256_setzero_si256();
  __m256i high_1 = high_0;
  __m256i low_0 = high_0;
  __m256i low_1 = high_0;
  for (int32_t t = 0; t < count; t += 2) {
    const uint8_t* upper = first + static_cast<size_t>(t) * in_stride;
    // Behind an odd last row the coefficient is zero, and there may be no row.
    const uint8_t* lower = t + 1 < count ? upper + in_stride : upper;
    const __m128i a = load_16(upper);
    const __m128i b = load_16(lower);
    const __m256i left = _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(a, b));
    const __m256i right = _mm256_cvtepu8_epi16(_mm_unpackhi_epi8(a, b));
    const __m256i high = pair_of(highs + t);
    const __m256i low = pair_of(lows + t);
    high_0 = _mm256_add_epi32(high_0, _mm256_madd_epi16(left, high));
    high_1 = _mm256_add_epi32(high_1, _mm256_madd_epi16(right, high));
    low_0 = _mm256_add_epi32(low_0, _mm256_madd_epi16(left, low));
    low_1 = _mm256_add_epi32(low_1, _mm256_madd_epi16(right, low));
  }
  const __m256i words =
      _mm256_permute4x64_epi64(_mm256_packs_epi32(joined(high_0, low_0), joined(high_1, low_1)), 0xD8);
  return _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}

MINIMIND_AVX2 void avx2_vertical(const uint8_t* in, size_t in_stride, int64_t y, const AxisView& axis, size_t width,
                                 uint8_t* out) {
  const uint8_t* first = in + static_cast<size_t>(axis.firsts[y]) * in_stride;
  const size_t row = static_cast<size_t>(y) * static_cast<size_t>(axis.taps);
  const int32_t count = axis.counts[y];
  size_t x = 0;
  for (; x + 16 <= width; x += 16) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + x),
                     sixteen_columns(first + x, in_stride, axis.highs + row, axis.lows + row, count));
  }
  if (x == width) {
    return;
  }
  if (width < 16) {
    kScalarResize.vertical(in, in_stride, y, axis, width, out);
    return;
  }
  // The last 16 bytes overlap the ones before, so that no byte outside the row is touched.
  x = width - 16;
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out + x),
                   sixteen_columns(first + x, in_stride, axis.highs + row, axis.lows + row, count));
}

const ResizeKernels kAvx2Resize = {"avx2", avx2_horizontal, avx2_vertical};

}  // namespace

const ResizeKernels* avx2_resize() {
  return __builtin_cpu_supports("avx2") ? &kAvx2Resize : nullptr;
}

}  // namespace minimind::detail

#else

namespace minimind::detail {
const ResizeKernels* avx2_resize() {
  return nullptr;
}
}  // namespace minimind::detail

#endif
