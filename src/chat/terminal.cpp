#include "chat/terminal.h"

#include <algorithm>
#include <cstdio>
#include <iomanip>
#include <sstream>
#include <string_view>
#include <system_error>

#include "base/output.h"
#include "base/utf8.h"
#include "chat/image_groups.h"
#include "chat/image_paths.h"
#include "chat/path_text.h"
#include "minimind/base/error.h"
#include "minimind/image/decode.h"

namespace minimind {

namespace {

constexpr std::string_view kHelp =
    "  TEXT                 a question; the path of an image in the text adds the image\n"
    "  /image PATH [PATH…]  images for the next question; an empty line asks the default question about them\n"
    "  /clear               forget the conversation and its images\n"
    "  /help                list the commands\n"
    "  /quit                end the chat, as Ctrl-D does; Ctrl-C stops an answer\n";

std::string speed_text(const Answer& answer) {
  std::ostringstream text;
  text << std::fixed << std::setprecision(1) << "(" << answer.prompt_tokens << " tokens read in "
       << answer.prefill_seconds * 1e3 << " ms; " << answer.ids.size() << " written";
  if (answer.ids.size() > 1 && answer.decode_seconds > 0) {
    text << ", " << static_cast<double>(answer.ids.size()) / answer.decode_seconds << " tokens/s";
  }
  text << ")";
  return text.str();
}

void ask(const TerminalChat& chat, const std::string& question, const std::vector<at::Tensor>& features) {
  const Answer answer = chat.session.ask(question, features, [&](std::string_view piece) {
    chat.out << piece << std::flush;
    return chat.out.good() && !(chat.stop_wanted && chat.stop_wanted());
  });
  chat.out << (answer.text.ends_with('\n') ? "" : "\n") << std::flush;
  if (!answer.notice.empty()) {
    chat.notes << "note: " << answer.notice << "\n";
  }
  if (answer.reason == StopReason::kStopped && chat.lines.is_terminal()) {
    chat.notes << "(stopped)\n";
  } else if (answer.reason == StopReason::kContextFull) {
    chat.notes << "note: the context is full, so the answer ends here; /clear makes room\n";
  }
  if (chat.show_speed) {
    chat.notes << speed_text(answer) << "\n";
  }
  chat.notes << std::flush;
}

/// The state between lines.
struct TerminalState {
  std::vector<at::Tensor> pending;  ///< features of the images for the next question
  bool asked = false;
  bool failed = false;
  bool ended = false;
};

/// Asks about the pending images. An empty question means the default question.
void ask_about_pending(const TerminalChat& chat, const std::string& question, TerminalState& state) {
  state.asked = true;
  const std::string& placeholder = chat.session.model().pattern().placeholder;
  ask(chat, question.empty() ? default_question(std::ssize(state.pending), placeholder) : question, state.pending);
  state.pending.clear();
}

void add_images(const TerminalChat& chat, const std::vector<std::string>& paths, TerminalState& state) {
  // If one image cannot be read, no image becomes pending: the question would lack it.
  std::vector<at::Tensor> features;
  for (const std::string& path : paths) {
    features.push_back(chat.session.model().features(load_image(existing_file(path).value_or(path))));
  }
  state.pending.insert(state.pending.end(), features.begin(), features.end());
}

void show_notes(const TerminalChat& chat, const std::vector<std::string>& notes) {
  for (const std::string& note : notes) {
    chat.notes << "note: " << printable(note) << "\n" << std::flush;
  }
}

void show_pending(const TerminalChat& chat, const TerminalState& state) {
  if (chat.lines.is_terminal() && !state.pending.empty()) {
    chat.notes << state.pending.size() << (state.pending.size() == 1 ? " image" : " images")
               << " for the next question\n"
               << std::flush;
  }
}

void run_command(const TerminalChat& chat, const std::string& line, TerminalState& state) {
  const size_t blank = line.find_first_of(" \t");
  const std::string name = line.substr(0, blank);
  const std::string rest = blank == std::string::npos ? "" : line.substr(blank);
  if (name == "/quit" || name == "/exit") {
    state.ended = true;
  } else if (name == "/help") {
    chat.notes << kHelp << std::flush;
  } else if (name == "/clear") {
    chat.session.clear();
    state.pending.clear();
  } else if (name == "/image") {
    const std::vector<std::string> paths = split_paths(rest);
    require(!paths.empty(), "/image: expected the path of an image, found no path");
    add_images(chat, paths, state);
    show_pending(chat, state);
  } else {
    fail(name, ": no such command; /help lists them");
  }
}

void run_line(const TerminalChat& chat, const std::string& line, TerminalState& state) {
  const size_t first = line.find_first_not_of(" \t");
  const std::string text = first == std::string::npos ? "" : line.substr(first);
  const bool is_command =
      text.starts_with('/') && text.substr(1, text.find_first_of(" \t") - 1).find('/') == std::string::npos;
  std::error_code failure;
  if (is_command && !std::filesystem::exists(split_paths(text).front(), failure)) {
    run_command(chat, text, state);
    return;
  }
  const DroppedImages parts = take_images_out(line);
  show_notes(chat, parts.notes);
  add_images(chat, parts.images, state);
  if (!parts.text.empty() || (parts.images.empty() && !state.pending.empty())) {
    ask_about_pending(chat, parts.text, state);
  } else {
    show_pending(chat, state);
  }
}

void show_error(const TerminalChat& chat, const Error& error) {
  chat.notes << "error: " << printable(error.what()) << "\n" << std::flush;
}

/// Asks about `images` and those of the question.
void ask_about(const TerminalChat& chat, const std::vector<std::string>& images, const DroppedImages& question) {
  TerminalState state;
  add_images(chat, images, state);
  add_images(chat, question.images, state);
  ask_about_pending(chat, question.text, state);
}

}  // namespace

int run_terminal(const TerminalChat& chat) {
  TerminalState state;
  add_images(chat, chat.first_images, state);
  if (chat.lines.is_terminal()) {
    chat.notes << "Drop an image and ask about it; /help lists the commands.\n" << std::flush;
  }
  show_pending(chat, state);
  while (!state.ended) {
    const std::optional<std::string> line = chat.lines.next("> ");
    if (!line) {
      break;
    }
    try {
      run_line(chat, *line, state);
    } catch (const Error& error) {
      state.failed = true;
      show_error(chat, error);
    }
    require_written(chat.out);
  }
  if (!chat.lines.is_terminal() && !chat.first_images.empty() && !state.asked && !state.failed) {
    ask_about_pending(chat, "", state);
  }
  return state.failed && !chat.lines.is_terminal() ? 1 : 0;
}

void ask_once(const TerminalChat& chat, const std::vector<std::string>& images, const std::string& question) {
  const DroppedImages parts = take_images_out(question);
  show_notes(chat, parts.notes);
  ask_about(chat, images, parts);
}

int ask_about_folder(const TerminalChat& chat, const std::filesystem::path& folder, const std::string& question,
                     bool together) {
  const ImageFolder found = image_groups(folder, together);
  const DroppedImages parts = take_images_out(question);
  show_notes(chat, found.notes);
  show_notes(chat, parts.notes);
  bool failed = false;
  for (const ImageGroup& group : found.groups) {
    chat.session.clear();
    chat.out << printable(group.name) << ": " << std::flush;
    try {
      ask_about(chat, group.images, parts);
    } catch (const Error& error) {
      failed = true;
      chat.out << "\n" << std::flush;
      show_error(chat, error);
    }
    require_written(chat.out);
  }
  return failed ? 1 : 0;
}

}  // namespace minimind
