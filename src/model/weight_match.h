#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "minimind/model/weights.h"

namespace minimind::detail {

/// What a module expects against what a file holds.
struct WeightMatch {
  LoadReport report;
  std::vector<std::string> problems;                    ///< one phrase for each key that does not fit
  std::vector<std::pair<at::Tensor, at::Tensor>> fits;  ///< parameter, the file's tensor
  std::vector<at::Tensor> absent;                       ///< parameters that the file lacks and may lack
};

/// Pairs `expected` (names of the parameters and the parameters) with `found`. Keys that start with an entry of
/// `allow_missing` may be absent.
WeightMatch match_weights(const std::vector<StateDict::Entry>& expected, const std::vector<StateDict::Entry>& found,
                          const std::vector<std::string>& allow_missing);

/// Copies the file's tensors into the parameters, or with `share_file` makes them the parameters (LoadOptions). Throws
/// Error if there is a problem, with counts, the first problems and `cause` (a sentence, may be empty).
void apply_weights(const WeightMatch& match, const std::string& where, const std::string& cause,
                   bool share_file = false);

/// Throws Error with the key where a tensor holds NaN or infinity. Mapped pages are given back.
void require_finite(const std::vector<StateDict::Entry>& entries, const std::string& where);

/// The parameters of a module under their state keys.
std::vector<StateDict::Entry> named_weights(const torch::nn::Module& module);

/// The module that a key's counts go to: its first part, or its first two below vision_model.
std::string module_of(const std::string& key);

/// A key without `_orig_mod.` and `module.`, which wrappers of a model put in front.
std::string plain_key(std::string_view name);

/// Keys without `_orig_mod.` and `module.`, leftovers (`mask`, `pos_cis`) removed and counted as skipped.
std::vector<StateDict::Entry> clean_keys(const StateDict& state, LoadReport* report);

/// The shape that the tensors of a (cleaned) state dict tell; head counts from `config`, which says the rest.
/// Returns false if the tensors are not of this family.
bool deduce_shape(const std::vector<StateDict::Entry>& entries, LmConfig* config);

/// Refuses a configuration of very many more parameters than the file holds: building such a model would only run out
/// of memory before the keys could be compared. `where` names the file.
void require_like_size(double parameters, const StateDict& state, const std::string& where, const std::string& cause);

/// Why a state dict does not fit a model of this configuration: a sentence with the cure, or "".
std::string likely_cause(const std::vector<StateDict::Entry>& entries, const LmConfig& config, bool wants_projection);

}  // namespace minimind::detail
