#include "minimind/chat/eval_chat.h"

#include <unistd.h>

#include <iostream>
#include <memory>

#include "base/signals.h"
#include "chat/terminal.h"
#include "minimind/base/error.h"
#include "minimind/base/log.h"
#include "minimind/base/stage.h"

namespace minimind {

Fields EvalChatOptions::file_fields() {
  Fields fields = files.fields();
  fields.front().help += "; empty: out/512_vlm_sft[_multi].pth";
  return fields;
}

Fields EvalChatOptions::question_fields() {
  return {{"image", &image, "image file for the first question; repeat the flag for several images"},
          {"image_dir", &image_dir, "ask about each image of this folder, in name order"},
          {"multi", &multi, "with --image_dir: one question about all images of each subfolder"},
          {"prompt", &prompt, "the question; empty: interactive chat, or the default question for --image_dir"}};
}

Fields EvalChatOptions::answer_fields() {
  return {{"temperature", &chat.sampling.temperature, "sampling temperature; 0: greedy decoding"},
          {"top_k", &chat.sampling.top_k, "sample from the k most likely tokens; 0: from all tokens"},
          {"top_p", &chat.sampling.top_p,
           "nucleus sampling: sample from the most likely tokens with this total probability"},
          {"repetition_penalty", &chat.sampling.repetition_penalty,
           "penalty for tokens that occurred before; 1 disables it"},
          {"repetition_penalty_mode",
           &repetition_penalty_mode,
           "usual: divide positive, multiply negative logits; original: divide all logits",
           {"usual", "original"}},
          {"max_new_tokens", &chat.max_new_tokens, "maximum tokens per answer"},
          {"max_seq_len", &chat.context, "context length in tokens, conversation and answer together"},
          {"seed", &seed, "random seed of sampling"},
          {"show_speed", &show_speed, "print the tokens per second after each answer"}};
}

void EvalChatOptions::resolve() {
  const bool several = multi || image.size() > 1;
  files.stage = stage_info(several ? Stage::kMultiImage : Stage::kInstruction).file_end;
  if (files.checkpoint.empty()) {
    files.checkpoint = "out/512_" + files.stage + ".pth";
  }
  chat.sampling.penalty_mode =
      repetition_penalty_mode == "original" ? RepetitionPenaltyMode::kOriginal : RepetitionPenaltyMode::kUsual;
  files.validate();
  chat.weights = weight_format_of(files.weights);
  chat.seed = static_cast<uint64_t>(seed);
  if (!image_dir.empty() && !image.empty()) {
    throw UsageError("--image and --image_dir: expected one of the two flags, found both");
  }
  try {
    chat.validate();
  } catch (const UsageError&) {
    throw;
  } catch (const Error& error) {
    throw UsageError(concat("--", error.what()));
  }
}

int run_eval_chat(const EvalChatOptions& options) {
  const bool converses = options.image_dir.empty() && options.prompt.empty();
  const bool typed = converses && isatty(STDIN_FILENO) != 0 && isatty(STDOUT_FILENO) != 0;
  const std::unique_ptr<ChatModel> model = ChatModel::load(options.files, log_warning);
  ChatSession session(*model, options.chat);
  StreamLines piped(std::cin);
  const std::unique_ptr<LineSource> edited = typed ? edited_lines() : nullptr;
  TerminalChat chat{session, typed ? *edited : piped, std::cout, std::cerr, options.show_speed, {}, {}};
  if (!options.image_dir.empty()) {
    return ask_about_folder(chat, options.image_dir, options.prompt, options.multi);
  }
  if (!converses) {
    ask_once(chat, options.image, options.prompt);
    return 0;
  }
  chat.first_images = options.image;
  if (!typed) {
    return run_terminal(chat);
  }
  const SignalCatcher interrupts({SIGINT}, SignalCatcher::SecondSignal::kIsCounted);
  chat.stop_wanted = take_interrupt;
  return run_terminal(chat);
}

}  // namespace minimind
