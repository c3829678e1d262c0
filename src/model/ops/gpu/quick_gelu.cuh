// Quick GELU in place: x * sigmoid(1.702 x), in float32, rounded once. x is contiguous and has `count` numbers.

MINIMIND_KERNEL quick_gelu(Number* x, long long count) {
  const long long first = first_number();
  const auto value_of = [](Number number) {
    const float value = to_float(number);
    return to_number(value * sigmoid(1.702f * value));
  };
  if (first + kPack <= count) {
    Pack numbers = load(x + first);
    for (int i = 0; i < kPack; ++i) {
      numbers.numbers[i] = value_of(numbers.numbers[i]);
    }
    store(x + first, numbers);
    return;
  }
  for (long long i = first; i < count; ++i) {
    x[i] = value_of(x[i]);
  }
}
