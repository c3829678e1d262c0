#pragma once

#include <ATen/core/Tensor.h>

namespace minimind {

/// Tells the system that the memory pages of a tensor that read_state_dict() mapped are not needed now; they are read
/// again when touched. Nothing happens to a tensor with memory of its own.
void release_mapped_pages(const at::Tensor& tensor);

/// Whether the tensor lies in a file that read_state_dict() mapped.
bool is_mapped(const at::Tensor& tensor);

}  // namespace minimind
