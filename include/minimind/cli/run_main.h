#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "minimind/base/fields.h"

namespace minimind {

/// A titled group of flags; `fields` point into an options struct that outlives the call of run_main.
struct OptionSection {
  std::string title;
  Fields fields;
};

struct CommandLine {
  std::string description;  ///< first lines of --help
  std::vector<OptionSection>
      sections;        ///< the values that the fields hold when run_main is called are the defaults of --help
  std::string footer;  ///< last lines of --help: examples
  /// Flags of strings whose value may be left out, and the value that this means: {{"resume", "auto"}}.
  std::map<std::string, std::string> alone;
  /// Called when the flags are in, before --print_config: fills in defaults that depend on other options. May throw
  /// UsageError.
  std::function<void()> resolve;
};

/// The whole of a main: reads flags into the fields, then runs `body` and returns its result.
/// Each field is a flag `--name`. A bool is set by `--name` alone and by `--name true|false` (any case; 1/0, yes/no,
/// on/off too); lists are repeated or separated by spaces; optionals take `none`. Beside them: `--config FILE.json`
/// (one flat object; defaults < file < flags; unknown keys are errors), `--print_config` (prints such an object and
/// ends), `--help`. Exit codes: 0; 1 after an Error or another exception (one line `error: …` on stderr); 2 for wrong
/// usage.
int run_main(int argc, const char* const* argv, const CommandLine& command_line, const std::function<int()>& body);

}  // namespace minimind
