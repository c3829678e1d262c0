#pragma once

#include <filesystem>
#include <functional>
#include <istream>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "minimind/chat/session.h"

namespace minimind {

/// Where a user's lines come from.
class LineSource {
 public:
  virtual ~LineSource() = default;
  /// The next line without its end; nullopt at the end of input. `prompt` is shown where a person types.
  virtual std::optional<std::string> next(const std::string& prompt) = 0;
  /// A person types: greetings and hints are welcome.
  virtual bool is_terminal() const = 0;
};

/// Lines of a stream: a file, a pipe, a test.
class StreamLines : public LineSource {
 public:
  explicit StreamLines(std::istream& input) : input_(input) {}
  std::optional<std::string> next(const std::string& prompt) override;
  bool is_terminal() const override { return false; }

 private:
  std::istream& input_;
};

/// Line editing and history of libedit on standard input and output. Ctrl-C gives up the line that is being typed.
std::unique_ptr<LineSource> edited_lines();

/// A line taken apart: the images named in it, and the rest.
struct LineParts {
  std::vector<std::string> images;
  std::string text;
};

/// Finds the paths of existing image files dropped into a line (quoted, with backslashes or file:// as terminals and
/// file managers write them; the whole line may be a path with spaces). Throws Error on an absolute path of an image
/// that does not exist.
LineParts take_images_out(const std::string& line);

/// Words of a command's arguments: quotes and backslashes as in take_images_out.
std::vector<std::string> split_words(const std::string& text);

/// Whether the name ends like an image format's that we read.
bool has_image_name(const std::filesystem::path& path);

/// What a terminal chat works with.
struct TerminalChat {
  ChatSession& session;
  LineSource& lines;
  std::ostream& out;    ///< answers
  std::ostream& notes;  ///< notices, errors, hints
  bool show_speed = false;
  /// Asked while an answer streams: true stops it.
  std::function<bool()> stop_wanted;
  std::vector<std::string> first_images;  ///< run_terminal: for the first question
};

/// Reads lines until their end or /quit: questions, `/image PATH…`, `/clear`, `/help`, dropped images. A line that
/// fails is told in `notes` and the loop goes on. Where nothing was asked about `first_images` and no person is
/// there, the default question is asked at the end. Throws Error if they cannot be read. Returns 0, or 1 if a line
/// failed and no person was there to see it.
int run_terminal(const TerminalChat& chat);

/// Asks once about images in files and prints the answer as it comes.
void ask_once(const TerminalChat& chat, const std::vector<std::string>& images, const std::string& question);

/// One question about each image of a folder, in name order, each in a conversation of its own; with `together` one
/// question about all images of each subfolder (of the folder itself if it has images and no subfolder). An empty
/// question means default_question(). Returns 0, or 1 if an image failed. Throws Error if there is nothing to ask
/// about.
int ask_about_folder(const TerminalChat& chat, const std::filesystem::path& folder, const std::string& question,
                     bool together);

/// SPEC.md section 7: what is asked about one image, about two, about more.
std::string default_question(int64_t images, const std::string& placeholder);

}  // namespace minimind
