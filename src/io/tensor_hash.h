#pragma once

#include <vector>

#include "minimind/base/content_hash.h"
#include "minimind/io/state_dict.h"

namespace minimind {

/// Hash of the entries' names, dtypes, shapes and bytes, after `previous`. Does not depend on the order of the entries,
/// strides or device. Releases the pages of mapped tensors.
ContentHash hash_tensors(const std::vector<StateDict::Entry>& entries, const ContentHash& previous = {});

}  // namespace minimind
