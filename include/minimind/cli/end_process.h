#pragma once

namespace minimind {

/// Ends the program with `code` when all that it made is written and closed: flushes the standard streams and leaves
/// the framework's static objects as they are. Taking those apart reads 110 MB of its libraries into memory, the
/// highest peak of a small training, and takes a tenth of a second.
[[noreturn]] void end_process(int code);

}  // namespace minimind
