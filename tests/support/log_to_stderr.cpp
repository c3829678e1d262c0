// Part of every test program: what the library logs appears on stderr, as in the programs.
#include "minimind/base/log.h"

namespace {

[[maybe_unused]] const bool is_logged = (minimind::log_to_stderr(), true);

}  // namespace
