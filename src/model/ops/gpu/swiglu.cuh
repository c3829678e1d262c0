// SwiGLU: product = silu(gate) * up, in float32, rounded once. All tensors are contiguous and have `count` numbers.

MINIMIND_KERNEL swiglu(const Number* gate, const Number* up, Number* product, long long count) {
  const long long first = first_number();
  const auto product_of = [](Number g, Number u) {
    const float x = to_float(g);
    return to_number(x * sigmoid(x) * to_float(u));
  };
  if (first + kPack <= count) {
    const Pack gates = load(gate + first), ups = load(up + first);
    Pack products;
    for (int i = 0; i < kPack; ++i) {
      products.numbers[i] = product_of(gates.numbers[i], ups.numbers[i]);
    }
    store(product + first, products);
    return;
  }
  for (long long i = first; i < count; ++i) {
    product[i] = product_of(gate[i], up[i]);
  }
}

/// gradient: of the product. Also computes the product again, which the gradient of the next weight needs.
MINIMIND_KERNEL swiglu_backward(const Number* gradient, const Number* gate, const Number* up, Number* gate_gradient,
                                Number* up_gradient, Number* product, long long count) {
  const long long first = first_number();
  const auto backward = [](Number d, Number g, Number u, Number& to_gate, Number& to_up, Number& result) {
    const float incoming = to_float(d), x = to_float(g), factor = to_float(u);
    const float share = sigmoid(x), silu = x * share;
    to_gate = to_number(incoming * factor * share * (1.0f + x * (1.0f - share)));
    to_up = to_number(incoming * silu);
    result = to_number(silu * factor);
  };
  if (first + kPack <= count) {
    const Pack gradients = load(gradient + first), gates = load(gate + first), ups = load(up + first);
    Pack to_gate, to_up, products;
    for (int i = 0; i < kPack; ++i) {
      backward(gradients.numbers[i], gates.numbers[i], ups.numbers[i], to_gate.numbers[i], to_up.numbers[i],
               products.numbers[i]);
    }
    store(gate_gradient + first, to_gate);
    store(up_gradient + first, to_up);
    store(product + first, products);
    return;
  }
  for (long long i = first; i < count; ++i) {
    backward(gradient[i], gate[i], up[i], gate_gradient[i], up_gradient[i], product[i]);
  }
}
