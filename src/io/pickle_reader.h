#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace minimind::detail {

/// What a pickled state dict says about one tensor: a strided view into a storage, a record of the archive.
struct PickledTensor {
  std::string storage;  ///< the record's name under `data/`
  c10::ScalarType dtype = c10::ScalarType::Float;
  int64_t storage_numel = 0;
  int64_t offset = 0;
  std::vector<int64_t> sizes;
  std::vector<int64_t> strides;
};

using PickledState = std::vector<std::pair<std::string, PickledTensor>>;

/// Runs the pickle program of a state dict (dict or OrderedDict of tensors) on a machine that knows nothing but
/// containers, numbers, texts and the four names that torch.save uses for tensors: no other name can be reached and
/// nothing is ever called. Memory is bounded by a multiple of the program's size. `where` names the file. Throws Error
/// on whatever else the program holds.
PickledState read_pickled_state(std::string_view program, const std::string& where);

}  // namespace minimind::detail
