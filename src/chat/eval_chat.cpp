#include "minimind/chat/eval_chat.h"

#include <unistd.h>

#include <iostream>
#include <memory>

#include "base/machine_limits.h"
#include "chat/interrupts.h"
#include "chat/terminal.h"
#include "minimind/base/error.h"
#include "minimind/base/log.h"

namespace minimind {

Fields EvalChatOptions::file_fields() {
  return {{"checkpoint",
           &files.checkpoint,
           "weights: .pth, .safetensors or a Hugging Face folder; empty: out/512_vlm_sft.pth, with several images "
           "out/512_vlm_sft_multi.pth",
           {}},
          {"clip_dir", &files.clip_dir, "folder of the CLIP encoder", {}},
          {"tokenizer", &files.tokenizer, "tokenizer.json, a sentencepiece .model, or a folder with one of them", {}},
          {"allow_missing",
           &files.allow_missing,
           "keys, or beginnings of keys, that the weights may lack (vision_proj: a language model that sees no images)",
           {}},
          {"device", &files.device, "auto, cpu, cuda or cuda:N", {}},
          {"weights",
           &weights,
           "number format of the weights while answers are written, on a CPU",
           {"float32", "bfloat16", "int8"}},
          {"threads", &files.threads, "threads of the matrix products; 0: as many as there are cores", {}}};
}

Fields EvalChatOptions::question_fields() {
  return {{"image", &image, "an image to ask about (first); repeat it for several", {}},
          {"image_dir", &image_dir, "ask about each image of this folder, in name order", {}},
          {"multi", &multi, "several images a question: those of each subfolder of --image_dir together", {}},
          {"prompt",
           &prompt,
           "the question, asked once; empty: a conversation, and the default question about the images of --image_dir",
           {}}};
}

Fields EvalChatOptions::answer_fields() {
  return {{"temperature", &chat.sampling.temperature, "how freely tokens are drawn; 0: always the best one", {}},
          {"top_k", &chat.sampling.top_k, "draw among the k best tokens; 0: among all", {}},
          {"top_p", &chat.sampling.top_p, "draw among the likeliest tokens that together have this probability", {}},
          {"repetition_penalty", &chat.sampling.repetition_penalty, "makes tokens seen before less likely; 1: off", {}},
          {"repetition_penalty_mode",
           &repetition_penalty_mode,
           "usual: divides positive and multiplies negative logits; original: divides whatever the sign",
           {"usual", "original"}},
          {"max_new_tokens", &chat.max_new_tokens, "longest answer in tokens", {}},
          {"max_seq_len", &chat.context, "context: tokens of conversation and answer", {}},
          {"seed", &seed, "of the random numbers: the same seed gives the same answers", {}},
          {"show_speed", &show_speed, "tell the tokens per second after each answer", {}}};
}

void EvalChatOptions::resolve() {
  const bool several = multi || image.size() > 1;
  files.stage = several ? "vlm_sft_multi" : "vlm_sft";
  if (files.checkpoint.empty()) {
    files.checkpoint = several ? "out/512_vlm_sft_multi.pth" : "out/512_vlm_sft.pth";
  }
  chat.sampling.penalty_mode =
      repetition_penalty_mode == "original" ? RepetitionPenaltyMode::kOriginal : RepetitionPenaltyMode::kUsual;
  chat.weights = weight_format_of(weights);
  files.weights = chat.weights;
  chat.seed = static_cast<uint64_t>(seed);
  if (!image_dir.empty() && !image.empty()) {
    throw UsageError("--image and --image_dir: expected one of them, found both");
  }
  require_flag_between("threads", files.threads, 0, most_threads());
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
  const std::unique_ptr<ChatModel> model =
      ChatModel::load(options.files, [](const std::string& text) { log_warning(text); });
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
  const detail::InterruptMarks marks;
  chat.stop_wanted = [] { return detail::take_interrupt(); };
  return run_terminal(chat);
}

}  // namespace minimind
