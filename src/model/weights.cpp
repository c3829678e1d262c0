#include "minimind/model/weights.h"

#include <ATen/Tensor.h>

#include <algorithm>

#include "minimind/base/error.h"
#include "model/weight_causes.h"
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

LoadReport load_vlm(VlmImpl& model, const StateDict& state, const std::string& where, const LoadOptions& options) {
  LoadReport skipped;
  std::vector<StateDict::Entry> entries = clean_keys(state, is_leftover, &skipped);
  const bool had_pair = merge_tied_pair(entries, where);
  std::vector<std::string> allow_missing = options.allow_missing;
  if (options.allow_missing_projection && std::ranges::none_of(entries, is_projection)) {
    allow_missing.push_back(kProjection);
  }
  WeightMatch match = match_weights(named_weights(model), entries, allow_missing, std::move(skipped));
  if (had_pair) {
    match.report.modules["output"].matched += 1;
  }
  if (match.problems.empty()) {
    require_finite(entries, where);
  } else {
    refuse_weights(match, where, likely_cause(entries, model.config(), !options.allow_missing_projection));
  }
  apply_weights(match, options.map_weights);
  return match.report;
}

StateDict vlm_state_dict(const VlmImpl& model) {
  // The original's order: the head stands between the final norm and the projection.
  const std::vector<StateDict::Entry> weights = named_weights(model);
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
