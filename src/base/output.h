#pragma once

#include <ostream>

namespace minimind {

/// Keeps the descriptors 0, 1 and 2 from files that the program opens: if one of them is closed, output would land in
/// such a file. Reading from or writing to a descriptor that was closed stays an error.
void reserve_standard_descriptors();

/// Flushes standard output. Throws Error if it, or anything before it, could not be written: the disk is full, the
/// descriptor is closed, the reader has ended.
void require_written(std::ostream& standard_output);

}  // namespace minimind
