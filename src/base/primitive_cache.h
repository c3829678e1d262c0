#pragma once

namespace minimind {

/// Limits oneDNN's primitive cache and PyTorch's LRU cache to 64 entries. The default of 1,024 shapes costs gigabytes
/// for bfloat16 batches of many lengths. Call it before the first bfloat16 matmul. Sets the environment variables
/// ONEDNN_PRIMITIVE_CACHE_CAPACITY and LRU_CACHE_CAPACITY unless they are set.
void limit_primitive_cache();

}  // namespace minimind
