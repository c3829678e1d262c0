// What all kernels begin with. NVRTC compiles this text followed by that of one kernel, once for each number type:
// MINIMIND_BFLOAT16, MINIMIND_FLOAT16 or neither (float32) is defined. Tests compile the same text for the host.

#ifdef __CUDACC_RTC__
#define MINIMIND_KERNEL extern "C" __global__ void __launch_bounds__(256)
#else
#define MINIMIND_KERNEL inline void
#endif

#if defined(MINIMIND_BFLOAT16)

typedef unsigned short Number;
__device__ __forceinline__ float to_float(Number number) {
  return __uint_as_float(static_cast<unsigned int>(number) << 16);
}
/// Rounds to the nearest bfloat16, ties to even.
__device__ __forceinline__ Number to_number(float value) {
  const unsigned int bits = __float_as_uint(value);
  const unsigned int rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
  return static_cast<Number>(value != value ? 0x7FC0u : rounded);
}

#elif defined(MINIMIND_FLOAT16)

typedef unsigned short Number;
#ifdef __CUDACC_RTC__
__device__ __forceinline__ float to_float(Number number) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(number));
  return value;
}
__device__ __forceinline__ Number to_number(float value) {
  Number number;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(number) : "f"(value));
  return number;
}
#else
inline float to_float(Number number) { return float_of_half_bits(number); }
inline Number to_number(float value) { return half_bits_of_float(value); }
#endif

#else

typedef float Number;
__device__ __forceinline__ float to_float(Number number) { return number; }
__device__ __forceinline__ Number to_number(float value) { return value; }

#endif

/// Neighbours that one thread moves with one instruction of 16 bytes. Their address must be a multiple of 16.
constexpr int kPack = 16 / sizeof(Number);
struct alignas(16) Pack {
  Number numbers[kPack];
};

/// The first number of this thread, if each thread has kPack of them.
__device__ __forceinline__ long long first_number() {
  return (static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x) * kPack;
}

__device__ __forceinline__ Pack load(const Number* from) { return *reinterpret_cast<const Pack*>(from); }
__device__ __forceinline__ void store(Number* to, const Pack& pack) { *reinterpret_cast<Pack*>(to) = pack; }

/// 1 / (1 + exp(-x)).
__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
