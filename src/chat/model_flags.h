#pragma once

#include <string>

#include "minimind/base/fields.h"
#include "minimind/chat/chat_model.h"

namespace minimind {

/// The flags with which eval_chat, evaluate and web_chat load a model: checkpoint, clip_dir, tokenizer, allow_missing,
/// device, weights and threads. `weights` is the text of files.weights.
Fields model_flags(ChatModelFiles& files, std::string& weights);

/// Sets files.weights from its text. Throws UsageError if a value is out of range.
void resolve_model_flags(ChatModelFiles& files, const std::string& weights);

}  // namespace minimind
