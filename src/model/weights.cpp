#include "minimind/model/weights.h"

#include <ATen/Tensor.h>

#include <algorithm>
#include <iomanip>
#include <sstream>

#include "base/utf8.h"
#include "minimind/base/error.h"
#include "model/weight_match.h"

namespace minimind {

namespace {

constexpr const char* kEmbedding = "tok_embeddings.weight";
constexpr const char* kOutput = "output.weight";
constexpr const char* kProjection = "vision_proj.";

/// Leaves one of the tied pair, under the embedding's name. Returns whether there were two.
bool merge_tied_pair(std::vector<StateDict::Entry>& entries, const std::string& where) {
  const auto output = std::ranges::find(entries, kOutput, &StateDict::Entry::first);
  if (output == entries.end()) {
    return false;
  }
  const auto embedding = std::ranges::find(entries, kEmbedding, &StateDict::Entry::first);
  if (embedding == entries.end()) {
    output->first = kEmbedding;
    return false;
  }
  const at::Tensor &a = embedding->second, &b = output->second;
  const bool is_shared =
      a.sizes() == b.sizes() && a.const_data_ptr() == b.const_data_ptr() && a.strides() == b.strides();
  require(
      is_shared || (a.sizes() == b.sizes() && a.scalar_type() == b.scalar_type() && a.equal(b)), where, ": ",
      kEmbedding, " and ", kOutput,
      ": expected one tensor under two names, found two different ones; this model's head is tied to its embedding");
  entries.erase(output);
  return true;
}

bool is_projection(const StateDict::Entry& entry) {
  return entry.first.starts_with(kProjection);
}

}  // namespace

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
  return std::ranges::any_of(missing_allowed, [](const std::string& key) { return key.starts_with(kProjection); });
}

LoadReport load_vlm(VlmImpl& model, const StateDict& state, const std::string& where, const LoadOptions& options) {
  LoadReport skipped;
  std::vector<StateDict::Entry> entries = detail::clean_keys(state, &skipped);
  const bool had_pair = merge_tied_pair(entries, where);
  std::vector<std::string> allow_missing = options.allow_missing;
  if (options.allow_missing_projection && std::ranges::none_of(entries, is_projection)) {
    allow_missing.push_back(kProjection);
  }
  detail::WeightMatch match = detail::match_weights(detail::named_weights(model), entries, allow_missing);
  const std::string cause =
      match.problems.empty() ? "" : detail::likely_cause(entries, model.config(), !options.allow_missing_projection);
  if (had_pair) {
    match.report.modules["output"].matched += 1;
  }
  for (const auto& [module, counts] : skipped.modules) {
    match.report.modules[module].skipped += counts.skipped;
  }
  if (match.problems.empty()) {
    detail::require_finite(entries, where);
  }
  detail::apply_weights(match, where, cause, options.share_file);
  return match.report;
}

StateDict vlm_state_dict(const VlmImpl& model) {
  // The original's order: the head stands between the final norm and the projection.
  const std::vector<StateDict::Entry> weights = detail::named_weights(model);
  const at::Tensor* head = nullptr;
  StateDict state;
  for (const StateDict::Entry& entry : weights) {
    if (entry.first == kEmbedding) {
      head = &entry.second;
    }
    if (is_projection(entry) && head != nullptr) {
      state.add(kOutput, head->detach());
      head = nullptr;
    }
    state.add(entry.first, entry.second.detach());
  }
  return state;
}

}  // namespace minimind
