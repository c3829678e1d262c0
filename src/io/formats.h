#pragma once

#include "minimind/base/file.h"
#include "minimind/io/state_dict.h"

namespace minimind::detail {

/// The two formats behind read_state_dict().
StateDict read_pth(const MappedFile& file);
StateDict read_safetensors(const MappedFile& file);

/// By content; a file that is neither goes by its name.
bool is_safetensors(const MappedFile& file);

/// numbers [sizes] as text, `[2, 3]`.
std::string shape_text(at::IntArrayRef sizes);

/// Product of the sizes. Throws Error, with `where` in front, when it (or a hundredfold margin) leaves 64 bits.
int64_t checked_numel(at::IntArrayRef sizes, const std::string& where);

/// A view of `size` bytes at `offset` of the mapping as a flat tensor; a copy where they are not aligned for the dtype.
at::Tensor mapped_tensor(const MappedFile& file, std::string_view bytes, at::ScalarType dtype);

/// The file behind a tensor of mapped_tensor(); null where the tensor has memory of its own.
const MappedFile* mapping_of(const at::Tensor& tensor);

/// The bytes of a contiguous CPU tensor.
std::string_view tensor_bytes(const at::Tensor& tensor);

}  // namespace minimind::detail
