#include "minimind/chat/eval_chat.h"

#include <iostream>

#include "minimind/cli/run_main.h"
#include "minimind/eval/compare.h"

int main(int argc, char** argv) {
  using namespace minimind;
  EvalChatOptions options;
  CompareOptions comparison;
  CommandLine command_line;
  command_line.description =
      "Answers questions about images: interactive chat, one question, or a folder. Compares checkpoints.";
  command_line.sections = {{"Files", options.file_fields()},
                           {"Question", options.question_fields()},
                           {"Answer", options.answer_fields()},
                           {"Comparison", comparison.fields()}};
  command_line.footer =
      "Examples: eval_chat                                       interactive chat; piped lines work too\n"
      "          eval_chat --image a.jpg --prompt 'What is it?'  one answer\n"
      "          eval_chat --image_dir FOLDER [--multi]          one answer for each image (subfolder)\n"
      "          eval_chat --image_dir FOLDER --checkpoints A.pth,B.pth --report report.html\n"
      "          eval_chat --data held_out.json --checkpoint A.pth   score the answers";
  command_line.resolve = [&] { comparison.resolve(options); };
  return run_main(argc, argv, command_line, [&] {
    return comparison.is_wanted() ? run_comparison(options, comparison, std::cout) : run_eval_chat(options);
  });
}
