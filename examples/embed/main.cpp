// Asks a model one question about one image and prints the answer while it is written.
#include <minimind/chat/chat.h>

#include <exception>
#include <iostream>

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: embed MODEL_FOLDER IMAGE QUESTION\n";
    return 2;
  }
  try {
    minimind::Chat chat({.model = argv[1]});
    chat.ask(argv[3], {{.path = argv[2]}}, [](std::string_view text) {
      std::cout << text << std::flush;
      return true;
    });
    std::cout << "\n";
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << "\n";
    return 1;
  }
}
