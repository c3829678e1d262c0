#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace minimind {

/// What a pickled state dict says about one tensor: a strided view into a storage, which is a record of the archive.
struct PickledTensor {
  std::string storage;  ///< the record's name under `data/`
  c10::ScalarType dtype = c10::ScalarType::Float;
  int64_t storage_numel = 0;
  int64_t offset = 0;  ///< in elements, like the strides
  std::vector<int64_t> sizes;
  std::vector<int64_t> strides;
};

using PickledState = std::vector<std::pair<std::string, PickledTensor>>;

/// Runs the pickle program of a state dict (dict or OrderedDict of tensors), or of a dict that holds one under `model`,
/// `state_dict` or the like (what a training program saves to resume), on a machine that knows containers,
/// numbers, strings and the names that torch.save uses for tensors. It reaches no other name and calls nothing. Its
/// memory is bounded by a multiple of the program's size. `where` names the file. Throws Error if the program holds
/// anything else.
PickledState read_pickled_state(std::string_view program, const std::string& where);

}  // namespace minimind
