#include "base/output.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "minimind/base/error.h"

namespace minimind {

void reserve_standard_descriptors() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(stream, F_GETFD) < 0) {
      // The lowest free number is `stream`. The wrong direction makes its use an error, as it was.
      ::open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY);
    }
  }
}

void require_written(std::ostream& standard_output) {
  errno = 0;
  standard_output.flush();
  if (standard_output.good()) {
    return;
  }
  if (errno == 0) {
    // An earlier write failed. Another one tells why.
    standard_output.clear();
    standard_output << '\n' << std::flush;
  }
  throw Error(concat("standard output: expected to write the results, found that they cannot be written: ",
                     errno != 0 ? std::strerror(errno) : "full disk, closed descriptor, or a reader that has ended"));
}

}  // namespace minimind
