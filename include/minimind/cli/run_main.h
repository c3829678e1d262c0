#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "minimind/base/fields.h"

namespace minimind {

/// A titled group of settings; `fields` point into an options struct that outlives run_main().
struct OptionSection {
  std::string title;
  Fields fields;
};

struct CommandLine {
  std::string description;              ///< first lines of --help
  std::vector<OptionSection> sections;  ///< --help shows the values at the call of run_main() as the defaults
  std::string footer;                   ///< last lines of --help: examples
  /// Text flags that may stand without a value, with the value that they then have: {{"resume", "auto"}}.
  std::map<std::string, std::string> alone;
  /// Sets defaults that depend on other options; called after the flags are read and before --print_config. May throw
  /// UsageError.
  std::function<void()> resolve;
};

/// A whole main(): sends the log to stderr, reads flags into the fields, runs `body` and returns its result.
/// Each field is a flag `--name`. A bool is set by `--name` and by `--name true|false` (any case; 1/0, yes/no, on/off).
/// Lists are repeated or separated by spaces. An optional takes `none`. Further flags: `--config FILE.json` (one flat
/// object; defaults < file < flags; unknown keys are errors), `--print_config` (prints such an object), `--help` (the
/// fields with `in_help`), `--help_all`, `--version`.
/// Exit codes: 0; 1 after an Error or another exception (one line `error: …` on stderr), and if standard output cannot
/// be written; 2 for wrong usage. SIGPIPE is ignored: a reader of the output that ends does not end the program.
int run_main(int argc, const char* const* argv, const CommandLine& command_line, const std::function<int()>& body);

/// Ends the program with `code` after all its files are closed: flushes the standard streams and skips the destructors
/// of LibTorch's static objects. Those read 110 MB of libraries into memory, the peak of a small training, and take a
/// tenth of a second.
[[noreturn]] void end_process(int code);

}  // namespace minimind
