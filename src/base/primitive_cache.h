#pragma once

namespace minimind {

/// To be called before a process multiplies in bfloat16 on a CPU. oneDNN, and the framework's layer above it, each keep
/// what they made for the last 1,024 shapes of such products: a megabyte and more for each, gigabytes after some
/// hundred batches or prompts, which all have other lengths. Making it anew costs some per cent of a step at most.
/// Both read an environment variable before their first product and have no other way to be told: this sets
/// ONEDNN_PRIMITIVE_CACHE_CAPACITY and LRU_CACHE_CAPACITY, where they are not set.
void limit_primitive_cache();

}  // namespace minimind
