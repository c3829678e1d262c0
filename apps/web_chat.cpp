#include "minimind/web/web_chat.h"

#include <iostream>

#include "minimind/cli/run_main.h"

int main(int argc, char** argv) {
  using namespace minimind;
  WebChatOptions options;
  CommandLine command_line;
  command_line.description = "Serves a chat page and an OpenAI-compatible API (docs/API.md) until Ctrl-C.";
  command_line.sections = {{"Files", options.file_fields()},
                           {"Server", options.server_fields()},
                           {"Limits", options.limit_fields()},
                           {"Generation defaults", options.answer_fields()}};
  command_line.footer =
      "Example: web_chat --checkpoint out/512_vlm_sft.pth --port 8080    then open http://127.0.0.1:8080/";
  command_line.resolve = [&] { options.resolve(); };
  return run_main(argc, argv, command_line, [&] { return run_web_chat(options, std::cout); });
}
