#pragma once

#include <torch/nn/module.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "minimind/io/state_dict.h"
#include "minimind/model/load_report.h"

namespace minimind {

/// What a module expects against what a file holds.
struct WeightMatch {
  LoadReport report;
  std::vector<std::string> problems;                    ///< one phrase for each key that does not fit
  std::vector<std::pair<at::Tensor, at::Tensor>> fits;  ///< parameter, the file's tensor
  std::vector<at::Tensor> absent;                       ///< parameters that the file lacks and may lack
};

/// Pairs `expected` (names of the parameters and the parameters) with `found`. Keys that start with an entry of
/// `allow_missing` may be absent. Counts are added to `report`.
WeightMatch match_weights(const std::vector<StateDict::Entry>& expected, const std::vector<StateDict::Entry>& found,
                          const std::vector<std::string>& allow_missing, LoadReport report);

/// Throws Error with the counts, the first problems and `cause` (a sentence, may be empty); logs the whole report.
[[noreturn]] void refuse_weights(const WeightMatch& match, const std::string& where, const std::string& cause);

/// Copies the file's tensors into the parameters, or with `map_weights` makes them the parameters (LoadOptions). There
/// must be no problem.
void apply_weights(const WeightMatch& match, bool map_weights);

/// Throws Error with the key if a tensor holds NaN or infinity. Releases mapped pages.
void require_finite(const std::vector<StateDict::Entry>& entries, const std::string& where);

/// Throws Error if a configuration has very many more parameters than the file holds: building such a model would run
/// out of memory before its keys could be compared. `where` names the file.
void require_like_size(double parameters, const StateDict& state, const std::string& where, const std::string& cause);

/// The parameters of a module under their state keys.
std::vector<StateDict::Entry> named_weights(const torch::nn::Module& module);

/// A key without `_orig_mod.`, `module.` and `model.`, which wrappers of a model put in front.
std::string plain_key(std::string_view name);

/// Whether a key is a leftover of the original's buffers: `mask`, `pos_cis`.
bool is_leftover(const std::string& key);

/// The entries under their plain keys, without those that `is_skipped` names; counts these in `report` unless it is
/// null.
std::vector<StateDict::Entry> clean_keys(const StateDict& state, bool (*is_skipped)(const std::string& key),
                                         LoadReport* report = nullptr);

}  // namespace minimind
