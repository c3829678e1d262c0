#include "model/weight_match.h"

#include <ATen/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <unordered_map>

#include "base/utf8.h"
#include "io/mapped_pages.h"
#include "minimind/base/error.h"
#include "minimind/base/log.h"
#include "model/all_finite.h"

namespace minimind {

namespace {

/// The module that a key is counted under: its first part, or its first two below vision_model.
std::string module_of(const std::string& key) {
  const size_t first = key.find('.');
  const bool is_vision = key.starts_with("vision_model.");
  return key.substr(0, is_vision ? key.find('.', first + 1) : first);
}

bool may_be_missing(const std::string& key, const std::vector<std::string>& allow_missing) {
  return std::ranges::any_of(allow_missing,
                             [&](const std::string& prefix) { return !prefix.empty() && key.starts_with(prefix); });
}

/// Adds a parameter and the file's tensor of its name (null if there is none) to the match.
void add_parameter(WeightMatch& match, const std::string& key, const at::Tensor& parameter, const at::Tensor* tensor,
                   const std::vector<std::string>& allow_missing) {
  LoadReport::Counts& counts = match.report.modules[module_of(key)];
  if (tensor == nullptr) {
    ++counts.missing;
    if (may_be_missing(key, allow_missing)) {
      match.report.missing_allowed.push_back(key);
      match.absent.push_back(parameter);
    } else {
      match.problems.push_back(concat(key, " expected ", parameter.sizes(), ", found none"));
    }
  } else if (!tensor->is_floating_point()) {
    ++counts.wrong_shape;
    match.problems.push_back(
        concat(key, " expected floating-point numbers, found ", c10::toString(tensor->scalar_type())));
  } else if (tensor->sizes() != parameter.sizes()) {
    ++counts.wrong_shape;
    match.problems.push_back(concat(key, " expected ", parameter.sizes(), ", found ", tensor->sizes()));
  } else {
    ++counts.matched;
    match.fits.emplace_back(parameter, *tensor);
  }
}

}  // namespace

WeightMatch match_weights(const std::vector<StateDict::Entry>& expected, const std::vector<StateDict::Entry>& found,
                          const std::vector<std::string>& allow_missing, LoadReport report) {
  WeightMatch match;
  match.report = std::move(report);
  std::unordered_map<std::string, const at::Tensor*> by_name;
  for (const auto& [key, tensor] : found) {
    if (!by_name.emplace(key, &tensor).second) {
      ++match.report.modules[module_of(key)].unexpected;
      match.problems.push_back(concat(printable(key), " is there twice, with and without a prefix"));
    }
  }
  for (const auto& [key, parameter] : expected) {
    const auto source = by_name.extract(key);
    add_parameter(match, key, parameter, source.empty() ? nullptr : source.mapped(), allow_missing);
  }
  for (const auto& [key, tensor] : found) {
    if (by_name.contains(key)) {
      ++match.report.modules[module_of(key)].unexpected;
      match.problems.push_back(concat(printable(key), " ", tensor.sizes(), " unexpected"));
    }
  }
  return match;
}

void refuse_weights(const WeightMatch& match, const std::string& where, const std::string& cause) {
  constexpr size_t kShown = 4;
  const LoadReport::Counts counts = match.report.total();
  std::string shown;
  for (size_t i = 0; i < std::min(kShown, match.problems.size()); ++i) {
    shown += (i > 0 ? "; " : "") + match.problems[i];
  }
  if (match.problems.size() > kShown) {
    shown += concat("; and ", match.problems.size() - kShown, " more");
  }
  log_info(concat(where, " does not fit:\n", match.report.summary()));
  const std::string allowed = match.absent.empty() ? "" : concat(", of which ", match.absent.size(), " may be");
  const int64_t keys = counts.matched + counts.missing + counts.unexpected + counts.wrong_shape;
  fail(where, ": ", match.problems.size(), " of ", keys, " keys do not fit (", counts.matched, " matched, ",
       counts.missing, " missing", allowed, ", ", counts.unexpected, " unexpected, ", counts.wrong_shape,
       " of another shape): ", shown, cause.empty() ? "" : "; " + cause);
}

void apply_weights(const WeightMatch& match, bool map_weights) {
  const at::NoGradGuard without_gradients;
  for (const auto& [parameter, tensor] : match.fits) {
    if (map_weights) {
      parameter.set_data(tensor.to(parameter.scalar_type()).contiguous());
    } else {
      parameter.copy_(tensor);
    }
  }
  for (const at::Tensor& parameter : match.absent) {
    if (map_weights) {
      parameter.set_data(at::zeros(parameter.sizes(), parameter.options()));
    }
  }
}

void require_finite(const std::vector<StateDict::Entry>& entries, const std::string& where) {
  for (const auto& [key, tensor] : entries) {
    if (tensor.is_floating_point() && !detail::all_finite(tensor)) {
      fail(where, ": key \"", printable(key),
           "\": expected numbers, found NaN or infinity; the run that wrote this file had failed: take an earlier "
           "checkpoint of it, or copy or download the file again");
    }
    release_mapped_pages(tensor);
  }
}

void require_like_size(double parameters, const StateDict& state, const std::string& where, const std::string& cause) {
  constexpr double kMostTimes = 4;
  constexpr double kAlwaysFine = 1e8;
  double held = 0;
  for (const auto& [key, tensor] : state.entries()) {
    held += static_cast<double>(tensor.numel());
  }
  require(parameters <= kMostTimes * held + kAlwaysFine, where, ": expected the weights of a model of ",
          std::llround(parameters / 1e6), " million parameters, as its configuration says, found ",
          std::llround(held / 1e6), " million", cause.empty() ? "" : "; " + cause);
}

std::vector<StateDict::Entry> named_weights(const torch::nn::Module& module) {
  std::vector<StateDict::Entry> entries;
  for (const auto& item : module.named_parameters()) {
    entries.emplace_back(item.key(), item.value());
  }
  return entries;
}

std::string plain_key(std::string_view name) {
  for (bool stripped = true; stripped;) {
    stripped = false;
    for (const std::string_view prefix : {"_orig_mod.", "module.", "model."}) {
      if (name.starts_with(prefix)) {
        name.remove_prefix(prefix.size());
        stripped = true;
      }
    }
  }
  return std::string(name);
}

bool is_leftover(const std::string& key) {
  return key.find("mask") != std::string::npos || key.find("pos_cis") != std::string::npos;
}

std::vector<StateDict::Entry> clean_keys(const StateDict& state, bool (*is_skipped)(const std::string& key),
                                         LoadReport* report) {
  std::vector<StateDict::Entry> entries;
  for (const auto& [name, tensor] : state.entries()) {
    std::string key = plain_key(name);
    if (!is_skipped(key)) {
      entries.emplace_back(std::move(key), tensor);
    } else if (report != nullptr) {
      ++report->modules[module_of(key)].skipped;
    }
  }
  return entries;
}

}  // namespace minimind
