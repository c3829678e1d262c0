#include "dist/collective.h"

#include <c10/util/Exception.h>

#include <new>
#include <stdexcept>

namespace minimind::detail {

bool is_own_failure(const std::exception& error) {
  if (dynamic_cast<const c10::Error*>(&error) != nullptr) {
    return dynamic_cast<const c10::DistError*>(&error) == nullptr;
  }
  return dynamic_cast<const std::bad_alloc*>(&error) != nullptr ||
         dynamic_cast<const std::logic_error*>(&error) != nullptr;
}

std::string connection_failure_text(const std::exception& error) {
  const std::string text = error.what();
  return text.substr(0, text.find('\n'));
}

}  // namespace minimind::detail
