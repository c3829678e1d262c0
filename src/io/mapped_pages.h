#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "minimind/base/content_hash.h"
#include "minimind/base/file.h"
#include "minimind/io/state_dict.h"

namespace minimind {

/// A flat tensor over `bytes`, which lie in the mapping of `file`. The tensor keeps the mapping alive and is read-only.
/// If the bytes are not aligned for the dtype, or there are none, the tensor is a copy.
at::Tensor mapped_tensor(const MappedFile& file, std::string_view bytes, at::ScalarType dtype);

/// Whether the tensor lies in a file that read_state_dict() mapped.
bool is_mapped(const at::Tensor& tensor);

/// Lets the system drop the memory pages of a mapped tensor; the next access reads them again. Other tensors stay as
/// they are.
void release_mapped_pages(const at::Tensor& tensor);

/// The bytes of a contiguous CPU tensor.
std::string_view tensor_bytes(const at::Tensor& tensor);

/// Hash of the entries' names, dtypes, shapes and bytes, after `previous`. Does not depend on the order of the entries,
/// strides or device. Releases the pages of mapped tensors.
ContentHash hash_tensors(const std::vector<StateDict::Entry>& entries, const ContentHash& previous = {});

/// The number of elements of a shape that a file names. Throws Error, with `where` in front, if a size is negative or
/// the number (with a hundredfold margin) exceeds 64 bits.
int64_t checked_numel(at::IntArrayRef sizes, const std::string& where);

}  // namespace minimind
