#include "minimind/cli/run_main.h"

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <iostream>
#include <map>
#include <new>
#include <stdexcept>
#include <utility>
#include <variant>

#include "base/cpu_watch.h"
#include "base/output.h"
#include "cli/field_text.h"
#include "minimind/base/error.h"
#include "minimind/base/file.h"
#include "minimind/base/log.h"
#include "minimind/version.h"

namespace minimind {
namespace {

constexpr int kSuccess = 0;
constexpr int kFailure = 1;
constexpr int kUsage = 2;

struct ParsedFlags {
  std::map<std::string, std::vector<std::string>> words;  ///< by field name, as typed
  std::string config;
  bool print_config = false;
  bool help_all = false;
};

Fields all_fields(const CommandLine& command_line) {
  Fields all;
  for (const OptionSection& section : command_line.sections) {
    all.insert(all.end(), section.fields.begin(), section.fields.end());
  }
  return all;
}

void add_flag(CLI::App& app, const Field& field, bool may_stand_alone, ParsedFlags& parsed) {
  const auto keep_words = [&words = parsed.words, name = field.name](const CLI::results_t& results) {
    words[name] = results;
    return true;
  };
  CLI::Option* option = app.add_option("--" + field.name, keep_words, field.help);
  option->type_name(detail::field_type_name(field))->type_size(1);
  const bool is_list = std::holds_alternative<std::vector<std::string>*>(field.value) ||
                       std::holds_alternative<std::vector<int64_t>*>(field.value);
  const bool is_bool =
      std::holds_alternative<bool*>(field.value) || std::holds_alternative<std::optional<bool>*>(field.value);
  if (is_list) {
    option->expected(1, CLI::detail::expected_max_vector_size)->allow_extra_args(true);
    option->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  } else {
    option->expected(may_stand_alone || is_bool ? 0 : 1, 1)->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  }
}

/// Refuses words that belong to no flag.
void refuse_leftovers(const CLI::App& app, const Fields& fields) {
  const std::vector<std::string> rest = app.remaining();
  std::vector<std::string> known = {"--config", "--print_config", "--help", "--help_all", "--version"};
  for (const Field& field : fields) {
    known.push_back("--" + field.name);
  }
  for (const std::string& word : rest) {
    if (word.starts_with('-') && word.size() > 1) {
      const std::string flag = word.substr(0, word.find('='));
      const std::string nearest = nearest_name(flag, known);
      throw UsageError(concat("unknown flag ", flag, nearest.empty() ? "" : "; did you mean " + nearest + "?",
                              " (--help_all lists all flags)"));
    }
  }
  if (!rest.empty()) {
    throw UsageError(
        concat("unexpected argument '", rest[0], "': every value follows its flag (--help_all lists all flags)"));
  }
}

/// Prints --help or, with `all`, --help_all.
void print_help(CLI::App& app, const CommandLine& command_line, bool all) {
  for (const OptionSection& section : command_line.sections) {
    for (const Field& field : section.fields) {
      CLI::Option* option = app.get_option("--" + field.name);
      option->group(all || field.in_help ? section.title : "");  // no title hides the flag
      // Only now: while parsing, CLI11 takes the default of a flag for its value if the flag stands alone.
      option->default_str(field_value_text(field));
    }
  }
  std::cout << app.help() << std::flush;
}

/// Returns false if the program ends here with success (--help, --help_all, --version, --print_config).
bool read_command_line(int argc, const char* const* argv, const CommandLine& command_line) {
  const Fields fields = all_fields(command_line);
  ParsedFlags parsed;
  CLI::App app(command_line.description, argc > 0 ? std::filesystem::path(argv[0]).filename().string() : "");
  app.footer(command_line.footer);
  app.allow_extras();
  for (const Field& field : fields) {
    add_flag(app, field, command_line.alone.contains(field.name), parsed);
  }
  app.add_option("--config", parsed.config, "JSON file with any of these options (defaults < file < flags)");
  app.add_flag("--print_config", parsed.print_config, "print all options as such a JSON file and exit");
  app.add_flag("--help_all", parsed.help_all, "print this help with all flags and exit");
  app.set_version_flag("--version", "MiniMind-V " MINIMIND_VERSION, "print the version and exit");
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    print_help(app, command_line, false);
    return false;
  } catch (const CLI::CallForVersion& version) {
    std::cout << version.what() << std::endl;
    return false;
  } catch (const CLI::ParseError& error) {
    throw UsageError(error.what());
  }
  refuse_leftovers(app, fields);
  if (parsed.help_all) {
    print_help(app, command_line, true);
    return false;
  }
  if (!parsed.config.empty()) {
    fields_from_json(fields, read_file(parsed.config), parsed.config);
  }
  for (const Field& field : fields) {
    const auto found = parsed.words.find(field.name);
    if (found != parsed.words.end()) {
      const auto alone = command_line.alone.find(field.name);
      const bool stands_alone =
          alone != command_line.alone.end() && (found->second.empty() || found->second[0].empty());
      detail::set_field_from_words(field, stands_alone ? std::vector<std::string>{alone->second} : found->second);
    }
  }
  if (command_line.resolve) {
    command_line.resolve();
  }
  if (parsed.print_config) {
    std::cout << fields_to_json(fields) << std::endl;
  }
  return !parsed.print_config;
}

void print_error(std::string_view message) {
  std::cout.flush();
  std::cerr << "error: " << message << std::endl;
}

/// LibTorch appends a backtrace to its messages, which does not help the user.
std::string_view first_line(std::string_view message) {
  return message.substr(0, message.find('\n'));
}

}  // namespace

int run_main(int argc, const char* const* argv, const CommandLine& command_line, const std::function<int()>& body) {
  reserve_standard_descriptors();
  // A reader of the output that ends (`| head`, a `tee` that a signal ends) must not end a training.
  std::signal(SIGPIPE, SIG_IGN);
  log_to_stderr();
  try {
    int code = kSuccess;
    if (read_command_line(argc, argv, command_line)) {
      const CpuWatch watch;
      code = body();
    }
    if (code == kSuccess) {
      require_written(std::cout);
    }
    return code;
  } catch (const UsageError& error) {
    print_error(error.what());
    return kUsage;
  } catch (const Error& error) {
    print_error(error.what());
  } catch (const std::bad_alloc&) {
    print_error("out of memory; a smaller --batch_size or --max_seq_len needs less");
  } catch (const std::logic_error& error) {
    print_error(concat("internal error, please report it: ", first_line(error.what())));
  } catch (const std::exception& error) {
    print_error(first_line(error.what()));
  }
  return kFailure;
}

void end_process(int code) {
  std::cout.flush();
  std::cerr.flush();
  std::fflush(nullptr);
  std::quick_exit(code);
}

}  // namespace minimind
