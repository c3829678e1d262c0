#include <iostream>

#include "minimind/cli/run_main.h"
#include "minimind/sample/sample_data.h"

int main(int argc, char** argv) {
  minimind::sample::SampleDataOptions options;
  minimind::CommandLine command_line;
  command_line.description =
      "Generates the quickstart's data: images of coloured shapes, texts, an encoder and a tokenizer.";
  command_line.sections = {{"Sample", options.fields()}};
  command_line.footer = "Example: make_sample_data --out out/sample";
  return minimind::run_main(argc, argv, command_line, [&] {
    std::cout << minimind::sample::write_sample_data(options) << "\n";
    return 0;
  });
}
