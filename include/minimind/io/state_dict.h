#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace minimind {

/// Named tensors, in the order in which they were added or stand in a file.
class StateDict {
 public:
  using Entry = std::pair<std::string, at::Tensor>;

  void add(std::string name, at::Tensor tensor) { entries_.emplace_back(std::move(name), std::move(tensor)); }
  /// Null if there is no tensor of this name.
  const at::Tensor* find(const std::string& name) const {
    const auto found = std::ranges::find(entries_, name, &Entry::first);
    return found == entries_.end() ? nullptr : &found->second;
  }
  const std::vector<Entry>& entries() const& { return entries_; }
  std::vector<Entry>& entries() & { return entries_; }
  /// By value, so that `for (… : read_state_dict(path).entries())` is safe.
  std::vector<Entry> entries() && { return std::move(entries_); }
  size_t size() const { return entries_.size(); }

 private:
  std::vector<Entry> entries_;
};

}  // namespace minimind
