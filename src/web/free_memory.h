#pragma once

#include <cstdint>
#include <exception>
#include <filesystem>

namespace minimind {

/// Bytes that this process may still take: the least of what `ulimit -v`, `ulimit -d`, the memory cgroups (v1 and v2)
/// and the machine leave. Files of the page cache count as free. `root` stands before /proc and /sys.
int64_t free_memory(const std::filesystem::path& root = "/");

/// Whether the exception says that memory could not be taken: the standard one, or LibTorch's.
bool is_out_of_memory(const std::exception& error);

}  // namespace minimind
