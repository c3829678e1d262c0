#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "data/accents.h"
#include "minimind/base/error.h"
#include "minimind/data/image_source.h"

namespace minimind {

namespace {

// Other ways to write a name, for an archive or a folder from another system.
std::vector<std::string> other_spellings(const std::string& name) {
  std::vector<std::string> spellings;
  const auto add = [&](std::string spelling) {
    if (spelling != name && std::ranges::find(spellings, spelling) == spellings.end()) {
      spellings.push_back(std::move(spelling));
    }
  };
  std::string slashes = name;
  std::ranges::replace(slashes, '\\', '/');
  for (const std::string& base : {slashes, name}) {
    add(base);
    add(detail::compose_accents(base));
    add(detail::decompose_accents(base));
  }
  return spellings;
}

}  // namespace

std::string find_image(const ImageSource& images, const std::string& name, const std::string& prefix) {
  const std::string inside = images.relative_name(name);
  for (const std::string& candidate : {prefix + inside, inside}) {
    if (images.contains(candidate)) {
      return candidate;
    }
  }
  for (const std::string& spelling : other_spellings(inside)) {
    for (const std::string& candidate : {prefix + spelling, spelling}) {
      if (images.contains(candidate)) {
        return candidate;
      }
    }
  }
  for (const std::string& candidate : {prefix + inside, inside}) {
    const std::string reason = images.why_rejected(candidate);
    require(reason.empty(), "image ", name, " ", reason);
  }
  fail("image ", name, " not found in ", images.description(),
       prefix.empty() ? "" : concat(", nor ", prefix, inside, " (--image_prefix)"));
}

std::string image_label(const std::string& name, const std::string& found) {
  return name == found ? name : concat(name, " (the file ", found, ")");
}

}  // namespace minimind
