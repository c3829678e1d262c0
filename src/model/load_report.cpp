#include "minimind/model/load_report.h"

#include <algorithm>
#include <iomanip>
#include <sstream>

#include "base/utf8.h"

namespace minimind {

LoadReport::Counts LoadReport::total() const {
  Counts sum;
  for (const auto& [module, counts] : modules) {
    sum.matched += counts.matched;
    sum.missing += counts.missing;
    sum.unexpected += counts.unexpected;
    sum.wrong_shape += counts.wrong_shape;
    sum.skipped += counts.skipped;
  }
  return sum;
}

std::string LoadReport::summary() const {
  std::ostringstream out;
  const auto line = [&out](const std::string& name, const Counts& counts) {
    out << std::left << std::setw(28) << "  " + name << std::right << std::setw(4) << counts.matched << " matched"
        << std::setw(5) << counts.missing << " missing" << std::setw(5) << counts.unexpected << " unexpected"
        << std::setw(5) << counts.wrong_shape << " of another shape" << std::setw(5) << counts.skipped << " skipped";
  };
  for (const auto& [module, counts] : modules) {
    line(printable(module), counts);
    out << '\n';
  }
  line("all", total());
  if (lacks_projection()) {
    out << "\n  a language-only checkpoint: the projection keeps its initialisation";
  } else if (!missing_allowed.empty()) {
    constexpr size_t kShown = 8;
    out << "\n  absent, as allowed:";
    for (size_t i = 0; i < std::min(kShown, missing_allowed.size()); ++i) {
      out << (i > 0 ? ", " : " ") << missing_allowed[i];
    }
    if (missing_allowed.size() > kShown) {
      out << " and " << missing_allowed.size() - kShown << " more";
    }
  }
  return out.str();
}

bool LoadReport::lacks_projection() const {
  return std::ranges::any_of(missing_allowed, [](const std::string& key) { return key.starts_with("vision_proj."); });
}

}  // namespace minimind
