#include "model/weight_match.h"

#include <ATen/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "base/utf8.h"
#include "io/mapped_pages.h"
#include "minimind/base/error.h"
#include "minimind/base/log.h"
#include "model/all_finite.h"

namespace minimind::detail {

namespace {

std::string sizes_text(const at::Tensor& tensor) {
  std::string text = "[";
  for (const int64_t size : tensor.sizes()) {
    text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  }
  return text + "]";
}

bool is_leftover(const std::string& key) {
  return key.find("mask") != std::string::npos || key.find("pos_cis") != std::string::npos;
}

}  // namespace

WeightMatch match_weights(const std::vector<StateDict::Entry>& expected, const std::vector<StateDict::Entry>& found,
                          const std::vector<std::string>& allow_missing) {
  WeightMatch match;
  std::unordered_map<std::string, const at::Tensor*> by_name;
  for (const auto& [key, tensor] : found) {
    if (!by_name.emplace(key, &tensor).second) {
      ++match.report.modules[module_of(key)].unexpected;
      match.problems.push_back(concat(printable(key), " is there twice, with and without a prefix"));
    }
  }
  for (const auto& [key, parameter] : expected) {
    LoadReport::Counts& counts = match.report.modules[module_of(key)];
    const auto source = by_name.find(key);
    if (source == by_name.end()) {
      ++counts.missing;
      if (std::ranges::any_of(allow_missing,
                              [&](const std::string& prefix) { return !prefix.empty() && key.starts_with(prefix); })) {
        match.report.missing_allowed.push_back(key);
        match.absent.push_back(parameter);
      } else {
        match.problems.push_back(concat(key, " expected ", sizes_text(parameter), ", found none"));
      }
      continue;
    }
    const at::Tensor& tensor = *source->second;
    if (!tensor.is_floating_point()) {
      ++counts.wrong_shape;
      match.problems.push_back(
          concat(key, " expected floating-point numbers, found ", c10::toString(tensor.scalar_type())));
    } else if (tensor.sizes() != parameter.sizes()) {
      ++counts.wrong_shape;
      match.problems.push_back(concat(key, " expected ", sizes_text(parameter), ", found ", sizes_text(tensor)));
    } else {
      ++counts.matched;
      match.fits.emplace_back(parameter, tensor);
    }
    by_name.erase(source);
  }
  for (const auto& [key, tensor] : found) {
    if (by_name.contains(key)) {
      ++match.report.modules[module_of(key)].unexpected;
      match.problems.push_back(concat(printable(key), " ", sizes_text(tensor), " unexpected"));
    }
  }
  return match;
}

void apply_weights(const WeightMatch& match, const std::string& where, const std::string& cause, bool share_file) {
  if (!match.problems.empty()) {
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
    const size_t allowed = match.absent.size();
    const int64_t keys = counts.matched + counts.missing + counts.unexpected + counts.wrong_shape;
    fail(where, ": ", match.problems.size(), " of ", keys, " keys do not fit (", counts.matched, " matched, ",
         counts.missing, " missing", allowed > 0 ? ", of which " : "", allowed > 0 ? concat(allowed, " may be") : "",
         ", ", counts.unexpected, " unexpected, ", counts.wrong_shape, " of another shape): ", shown,
         cause.empty() ? "" : "; " + cause);
  }
  const at::NoGradGuard without_gradients;
  for (const auto& [parameter, tensor] : match.fits) {
    if (share_file) {
      parameter.set_data(tensor.to(parameter.scalar_type()).contiguous());
    } else {
      parameter.copy_(tensor);
    }
  }
  for (const at::Tensor& parameter : match.absent) {
    if (share_file) {
      parameter.set_data(at::zeros(parameter.sizes(), parameter.options()));
    }
  }
}

void require_finite(const std::vector<StateDict::Entry>& entries, const std::string& where) {
  for (const auto& [key, tensor] : entries) {
    require(!tensor.is_floating_point() || all_finite(tensor), where, ": key \"", printable(key),
            "\": expected numbers, found NaN or infinity; the run that wrote this file had failed: take an earlier "
            "checkpoint of it, or copy or download the file again");
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

std::string module_of(const std::string& key) {
  const size_t first = key.find('.');
  const bool is_vision = key.starts_with("vision_model.");
  return key.substr(0, is_vision ? key.find('.', first + 1) : first);
}

std::string plain_key(std::string_view name) {
  for (bool stripped = true; stripped;) {
    stripped = false;
    for (const std::string_view prefix : {"_orig_mod.", "module."}) {
      if (name.starts_with(prefix)) {
        name.remove_prefix(prefix.size());
        stripped = true;
      }
    }
  }
  return std::string(name);
}

std::vector<StateDict::Entry> clean_keys(const StateDict& state, LoadReport* report) {
  std::vector<StateDict::Entry> entries;
  for (const auto& [name, tensor] : state.entries()) {
    std::string key = plain_key(name);
    if (!is_leftover(key)) {
      entries.emplace_back(std::move(key), tensor);
    } else if (report != nullptr) {
      ++report->modules[module_of(key)].skipped;
    }
  }
  return entries;
}

}  // namespace minimind::detail
