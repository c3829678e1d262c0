// Tensors of the make-believe cards.
#pragma once
#include <ATen/core/Tensor.h>

#include <optional>

namespace fake_cuda {

/// A CPU tensor over the memory of a card's tensor: the same numbers, writable.
at::Tensor cpu_alias(const at::Tensor& tensor);

/// A copy of a CPU tensor on a card, with its strides.
at::Tensor to_card(const at::Tensor& cpu, c10::Device device);

/// aten::resize_ of a card's tensor.
const at::Tensor& resize(const at::Tensor& self, at::IntArrayRef size, std::optional<at::MemoryFormat> format);

}  // namespace fake_cuda
