#pragma once

namespace minimind {

/// Ends the program with `code` after all its files are closed: flushes the standard streams and skips the destructors
/// of LibTorch's static objects. Those read 110 MB of libraries into memory, the peak of a small training, and take a
/// tenth of a second.
[[noreturn]] void end_process(int code);

}  // namespace minimind
