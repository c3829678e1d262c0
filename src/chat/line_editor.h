#pragma once

#include <istream>
#include <memory>
#include <optional>
#include <string>

namespace minimind {

/// Where a user's lines come from.
class LineSource {
 public:
  virtual ~LineSource() = default;
  /// The next line without its end; nullopt at the end of the input. A terminal shows `prompt`.
  virtual std::optional<std::string> next(const std::string& prompt) = 0;
  /// Whether a person types the lines and wants greetings and hints.
  virtual bool is_terminal() const = 0;
};

/// Lines of a stream: a file, a pipe or a test.
class StreamLines : public LineSource {
 public:
  explicit StreamLines(std::istream& input) : input_(input) {}
  std::optional<std::string> next(const std::string& prompt) override;
  bool is_terminal() const override { return false; }

 private:
  std::istream& input_;
};

/// Whether Ctrl-C came since the last call. A SignalCatcher must catch SIGINT.
bool take_interrupt();

/// Lines typed on the terminal, with libedit's line editing and history. Ctrl-C discards the line while a SignalCatcher
/// catches SIGINT.
std::unique_ptr<LineSource> edited_lines();

}  // namespace minimind
