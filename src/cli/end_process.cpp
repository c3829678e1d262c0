#include "minimind/cli/end_process.h"

#include <cstdio>
#include <cstdlib>
#include <iostream>

namespace minimind {

void end_process(int code) {
  std::cout.flush();
  std::cerr.flush();
  std::fflush(nullptr);
  std::quick_exit(code);
}

}  // namespace minimind
