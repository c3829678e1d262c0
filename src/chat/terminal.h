#pragma once

#include <filesystem>
#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "chat/line_editor.h"
#include "minimind/chat/session.h"

namespace minimind {

/// What a terminal chat works with.
struct TerminalChat {
  ChatSession& session;
  LineSource& lines;
  std::ostream& out;    ///< answers
  std::ostream& notes;  ///< notices, errors, hints
  bool show_speed = false;
  /// Called while an answer streams; true stops the answer.
  std::function<bool()> stop_wanted;
  std::vector<std::string> first_images;  ///< of the first question of run_terminal()
};

/// Reads lines until /quit or the end of the input: questions, `/image PATH…`, `/clear`, `/help`, dropped images. An
/// error of a line goes to `notes`; the loop continues. If piped lines ask nothing about `first_images`, the default
/// question is asked at the end. Throws Error if a first image cannot be read. Returns 0, or 1 if a piped line failed.
int run_terminal(const TerminalChat& chat);

/// Asks once about image files and prints the answer while it streams. An empty question means default_question().
void ask_once(const TerminalChat& chat, const std::vector<std::string>& images, const std::string& question);

/// Asks one question about each image group of a folder (see image_groups()), each in a new conversation. An empty
/// question means default_question(). Returns 0, or 1 if an image failed. Throws Error if the folder holds no image.
int ask_about_folder(const TerminalChat& chat, const std::filesystem::path& folder, const std::string& question,
                     bool together);

}  // namespace minimind
