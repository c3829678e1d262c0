#include "base/primitive_cache.h"

#include <cstdlib>
#include <initializer_list>

namespace minimind {

namespace {

constexpr const char* kKept = "64";  // what a training step on one shape of a batch needs

}  // namespace

void limit_primitive_cache() {
  for (const char* name : {"ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"}) {
    ::setenv(name, kKept, /*overwrite=*/0);
  }
}

}  // namespace minimind
