#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "minimind/base/fields.h"
#include "minimind/chat/chat_model.h"
#include "minimind/chat/session.h"

namespace minimind {

/// The settings of eval_chat.
struct EvalChatOptions {
  ChatModelFiles files;
  std::vector<std::string> image;
  std::string image_dir;
  bool multi = false;
  std::string prompt;

  ChatOptions chat;
  std::string repetition_penalty_mode = "usual";
  int64_t seed = 1337;
  bool show_speed = false;

  EvalChatOptions() { files.checkpoint.clear(); }
  Fields file_fields();
  Fields question_fields();
  Fields answer_fields();
  /// Sets what depends on other options. Throws UsageError if options contradict each other or a value is out of range.
  void resolve();
};

/// The program eval_chat after its flags are read: a folder, one question, or interactive chat. Returns the exit code.
int run_eval_chat(const EvalChatOptions& options);

}  // namespace minimind
