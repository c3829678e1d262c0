#include "base/primitive_cache.h"

#include <cstdlib>
#include <initializer_list>

namespace minimind {

namespace {

constexpr const char* kEntries = "64";  // a training step on one batch shape needs fewer

}  // namespace

void limit_primitive_cache() {
  for (const char* name : {"ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"}) {
    ::setenv(name, kEntries, /*overwrite=*/0);
  }
}

}  // namespace minimind
