#include "kernels/gemv.h"

#if defined(__x86_64__)

#include <cpuid.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kernels/lanes_avx512.h"

#define MINIMIND_AMX __attribute__((target(MINIMIND_AVX512 ",amx-tile,amx-bf16")))

namespace minimind {

namespace {

// A tile has 16 rows of 64 bytes: 16 x 32 bfloat16 weights or 16 x 16 float32 sums.
constexpr int64_t kTileRows = 16;
constexpr int64_t kTileCols = 32;
constexpr int64_t kTileWords = 256;  // of 32 bits

/// The tile configuration, in the layout of the processor (Intel's manual: TILECFG).
struct alignas(64) TileShapes {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t bytes_of_row[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

/// Memory of one thread, kept from call to call.
struct Scratch {
  uint32_t* words = nullptr;
  int64_t size = 0;

  ~Scratch() { free(words); }
  /// `wanted` words, aligned to 64 bytes; null if memory is short.
  uint32_t* take(int64_t wanted) {
    if (wanted > size) {
      free(words);
      words = static_cast<uint32_t*>(aligned_alloc(64, static_cast<size_t>(wanted) * sizeof(uint32_t)));
      size = words == nullptr ? 0 : wanted;
    }
    return words;
  }
};

/// Transposes 16 x 16 values of 32 bits.
__attribute__((target(MINIMIND_AVX512), always_inline)) inline void transpose(__m512i rows[16]) {
  __m512i fours[16];  // [4 * g + j]: in quarter q column 4 * q + j of rows 4 * g to 4 * g + 3
  for (int g = 0; g < 16; g += 4) {
    const __m512i low = _mm512_unpacklo_epi32(rows[g], rows[g + 1]);
    const __m512i high = _mm512_unpackhi_epi32(rows[g], rows[g + 1]);
    const __m512i next_low = _mm512_unpacklo_epi32(rows[g + 2], rows[g + 3]);
    const __m512i next_high = _mm512_unpackhi_epi32(rows[g + 2], rows[g + 3]);
    fours[g] = _mm512_unpacklo_epi64(low, next_low);
    fours[g + 1] = _mm512_unpackhi_epi64(low, next_low);
    fours[g + 2] = _mm512_unpacklo_epi64(high, next_high);
    fours[g + 3] = _mm512_unpackhi_epi64(high, next_high);
  }
  for (int j = 0; j < 4; ++j) {
    const __m512i even = _mm512_shuffle_i32x4(fours[j], fours[4 + j], 0x88);
    const __m512i odd = _mm512_shuffle_i32x4(fours[j], fours[4 + j], 0xDD);
    const __m512i next_even = _mm512_shuffle_i32x4(fours[8 + j], fours[12 + j], 0x88);
    const __m512i next_odd = _mm512_shuffle_i32x4(fours[8 + j], fours[12 + j], 0xDD);
    rows[j] = _mm512_shuffle_i32x4(even, next_even, 0x88);
    rows[4 + j] = _mm512_shuffle_i32x4(odd, next_odd, 0x88);
    rows[8 + j] = _mm512_shuffle_i32x4(even, next_even, 0xDD);
    rows[12 + j] = _mm512_shuffle_i32x4(odd, next_odd, 0xDD);
  }
}

/// Packs x as the second factor of tile products: blocks of 16 rows, padded with zeros, and 32 columns. Within a block
/// pairs of neighbouring values of all rows lie side by side.
MINIMIND_TARGET void pack(const SmallGemm& gemm, uint32_t* packed) {
  for (int64_t first = 0; first < gemm.count; first += kTileRows) {
    for (int64_t col = 0; col < gemm.cols; col += kTileCols, packed += kTileWords) {
      __m512i rows[16];
      for (int64_t r = 0; r < kTileRows; ++r) {
        rows[r] = first + r < gemm.count ? _mm512_loadu_si512(gemm.bf16_x + (first + r) * gemm.cols + col)
                                         : _mm512_setzero_si512();
      }
      transpose(rows);
      for (int64_t r = 0; r < kTileRows; ++r) {
        _mm512_store_si512(packed + r * 16, rows[r]);
      }
    }
  }
}

/// Stores sums [weight row, input row] as y [input row, weight row]; `held` input rows exist.
__attribute__((target(MINIMIND_AVX512), always_inline)) inline void store_sums(const float* sums, float* y,
                                                                               int64_t y_stride, int64_t held) {
  __m512i rows[16];
  for (int64_t r = 0; r < kTileRows; ++r) {
    rows[r] = _mm512_load_si512(sums + r * 16);
  }
  transpose(rows);
  for (int64_t r = 0; r < held; ++r) {
    _mm512_storeu_si512(y + r * y_stride, rows[r]);
  }
}

/// Two blocks of weight rows and one or two blocks of input rows: two or four sums stay in tiles over all columns.
struct Corner {
  const uint16_t* weights[2];
  const uint32_t* packed[2];
};

MINIMIND_AMX void multiply_four(const Corner& corner, int64_t cols, float* sums) {
  const uint16_t *upper = corner.weights[0], *lower = corner.weights[1];
  const uint32_t *left = corner.packed[0], *right = corner.packed[1];
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int64_t col = 0; col < cols; col += kTileCols, left += kTileWords, right += kTileWords) {
    _tile_loadd(4, upper + col, 2 * cols);
    _tile_loadd(5, left, 64);
    _tile_loadd(6, lower + col, 2 * cols);
    _tile_loadd(7, right, 64);
    _tile_dpbf16ps(0, 4, 5);
    _tile_dpbf16ps(1, 6, 5);
    _tile_dpbf16ps(2, 4, 7);
    _tile_dpbf16ps(3, 6, 7);
  }
  _tile_stored(0, sums, 64);
  _tile_stored(1, sums + kTileWords, 64);
  _tile_stored(2, sums + 2 * kTileWords, 64);
  _tile_stored(3, sums + 3 * kTileWords, 64);
}

MINIMIND_AMX void multiply_two(const Corner& corner, int64_t cols, float* sums) {
  const uint16_t *upper = corner.weights[0], *lower = corner.weights[1];
  const uint32_t* left = corner.packed[0];
  _tile_zero(0);
  _tile_zero(1);
  for (int64_t col = 0; col < cols; col += kTileCols, left += kTileWords) {
    _tile_loadd(4, upper + col, 2 * cols);
    _tile_loadd(5, left, 64);
    _tile_loadd(6, lower + col, 2 * cols);
    _tile_dpbf16ps(0, 4, 5);
    _tile_dpbf16ps(1, 6, 5);
  }
  _tile_stored(0, sums, 64);
  _tile_stored(1, sums + kTileWords, 64);
}

MINIMIND_AMX void multiply_rows(const uint16_t* weights, const SmallGemm& gemm, const uint32_t* packed) {
  alignas(64) float sums[4 * kTileWords];
  const int64_t block_words = gemm.cols / kTileCols * kTileWords, last_row = gemm.rows - kTileRows;
  for (int64_t row = 0; row < gemm.rows; row += 2 * kTileRows) {
    // If the weight rows do not fill their blocks, the last blocks overlap.
    const int64_t rows[2] = {row < last_row ? row : last_row, row + kTileRows < last_row ? row + kTileRows : last_row};
    for (int64_t first = 0; first < gemm.count; first += 2 * kTileRows) {
      const int64_t left = gemm.count - first;
      const uint32_t* const block = packed + first / kTileRows * block_words;
      const Corner corner = {{weights + rows[0] * gemm.cols, weights + rows[1] * gemm.cols},
                             {block, block + block_words}};
      if (left > kTileRows) {
        multiply_four(corner, gemm.cols, sums);
      } else {
        multiply_two(corner, gemm.cols, sums);
      }
      for (int64_t part = 0; part < (left > kTileRows ? 4 : 2); ++part) {
        const int64_t held = left - part / 2 * kTileRows;
        store_sums(sums + part * kTileWords, gemm.y + (first + part / 2 * kTileRows) * gemm.y_stride + rows[part % 2],
                   gemm.y_stride, held < kTileRows ? held : kTileRows);
      }
    }
  }
}

/// Since Linux 5.16 a process must request the tile registers.
bool tiles_granted() {
#if defined(__linux__)
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

bool processor_has_tiles() {
  constexpr unsigned kBFloat16Tiles = 1U << 22, kTiles = 1U << 24;
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (edx & kBFloat16Tiles) != 0 && (edx & kTiles) != 0;
}

}  // namespace

bool amx_available() {
  static const bool available = processor_has_tiles() && tiles_granted();
  return available;
}

MINIMIND_AMX void amx_small_gemm_bf16(const uint16_t* weights, const SmallGemm& gemm) {
  static thread_local Scratch scratch;
  const int64_t blocks = (gemm.count + kTileRows - 1) / kTileRows;
  const bool fits = gemm.rows >= kTileRows && gemm.cols % kTileCols == 0;
  uint32_t* const packed = fits ? scratch.take(blocks * kTileRows * gemm.cols / 2) : nullptr;
  if (packed == nullptr) {
    kAvx512Kernels.small_gemm_bf16(weights, gemm);
    return;
  }
  pack(gemm, packed);
  __asm__ volatile("" ::: "memory");  // GCC's tile loads do not declare that they read memory
  // Static, because GCC declares only 8 of the 64 bytes as read.
  static constexpr TileShapes kShapes;
  _tile_loadconfig(&kShapes);
  multiply_rows(weights, gemm, packed);
  _tile_release();
}

}  // namespace minimind

#endif
