// Rotary positions: each pair (x0, x1) of a head times cos + i sin of its position, in float32, rounded once.

struct alignas(2 * sizeof(Number)) Pair {
  Number first, second;
};

/// One block for each position of each sample. heads [B, positions, heads, 2 * pairs] with these strides, in numbers;
/// neighbours of a head are neighbours in memory and pairs are aligned. rotations [positions, pairs, 2]; sign -1 takes
/// their conjugates. rotated is contiguous.
MINIMIND_KERNEL rope(const Number* heads, const float* rotations, Number* rotated, float sign, int positions,
                     int head_count, int pairs, long long sample_stride, long long position_stride,
                     long long head_stride) {
  const int sample = static_cast<int>(blockIdx.x) / positions, position = static_cast<int>(blockIdx.x) % positions;
  const Number* const from = heads + sample * sample_stride + position * position_stride;
  const float* const turns = rotations + static_cast<long long>(position) * pairs * 2;
  const int all_pairs = head_count * pairs;
  Pair* const to = reinterpret_cast<Pair*>(rotated) + static_cast<long long>(blockIdx.x) * all_pairs;
  for (int i = static_cast<int>(threadIdx.x); i < all_pairs; i += static_cast<int>(blockDim.x)) {
    const int head = i / pairs, pair = i % pairs;
    const Pair in = reinterpret_cast<const Pair*>(from + head * head_stride)[pair];
    const float a = to_float(in.first), b = to_float(in.second);
    const float cosine = turns[2 * pair], sine = sign * turns[2 * pair + 1];
    Pair out;
    out.first = to_number(a * cosine - b * sine);
    out.second = to_number(a * sine + b * cosine);
    to[i] = out;
  }
}
