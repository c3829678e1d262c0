#include "minimind/eval/evaluate.h"

#include <iostream>

#include "minimind/cli/run_main.h"

int main(int argc, char** argv) {
  using namespace minimind;
  EvaluateOptions options;
  CommandLine command_line;
  command_line.description =
      "Answers the questions of a data file and scores the answers. The last output line is one JSON object.";
  command_line.sections = {{"Files", options.file_fields()}, {"Evaluation", options.evaluation_fields()}};
  command_line.footer =
      "Example: evaluate --checkpoint out/512_vlm_sft.pth --data_path held_out.json --images_dir images --attributes "
      "attributes.json --show 5";
  command_line.resolve = [&] { options.resolve(); };
  return run_main(argc, argv, command_line, [&] {
    std::cout << evaluate(options, std::cout).json(options) << std::endl;
    return 0;
  });
}
