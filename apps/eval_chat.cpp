#include "minimind/chat/eval_chat.h"

#include "minimind/cli/run_main.h"

int main(int argc, char** argv) {
  using namespace minimind;
  EvalChatOptions options;
  CommandLine command_line;
  command_line.description =
      "Answers questions about pictures: in a conversation, once, or for each picture of a folder.";
  command_line.sections = {
      {"Files", options.file_fields()}, {"Question", options.question_fields()}, {"Answer", options.answer_fields()}};
  command_line.footer =
      "Examples: eval_chat                                       a conversation (piped lines work too)\n"
      "          eval_chat --image a.jpg --prompt 'What is it?'  one answer\n"
      "          eval_chat --image_dir FOLDER [--multi]          one answer a picture (a subfolder)";
  command_line.resolve = [&] { options.resolve(); };
  return run_main(argc, argv, command_line, [&] { return run_eval_chat(options); });
}
