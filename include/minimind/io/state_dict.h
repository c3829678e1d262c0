#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace minimind {

/// Named tensors in the file's order.
class StateDict {
 public:
  using Entry = std::pair<std::string, at::Tensor>;

  void add(std::string name, at::Tensor tensor) { entries_.emplace_back(std::move(name), std::move(tensor)); }
  /// Null if there is none.
  const at::Tensor* find(const std::string& name) const;
  const std::vector<Entry>& entries() const& { return entries_; }
  std::vector<Entry>& entries() & { return entries_; }
  /// By value, so that `for (… : read_state_dict(path).entries())` is safe.
  std::vector<Entry> entries() && { return std::move(entries_); }
  size_t size() const { return entries_.size(); }

 private:
  std::vector<Entry> entries_;
};

/// Reads a `.safetensors` file or a zip-form `.pth` / `.bin`, told apart by content. Tensors are views into the mapped
/// file: its pages are read when touched, and they are read-only, so copy a tensor before changing it in place. Throws
/// Error with path,
/// expected, found and the cure.
StateDict read_state_dict(const std::filesystem::path& path);

/// Writes what Python's torch.load(weights_only=True) reads: zip container, pickled OrderedDict; tensors that share
/// storage stay shared.
void write_pth(const std::filesystem::path& path, const StateDict& state);

/// Shared tensors are refused by the format: the caller leaves one of a tied pair out.
void write_safetensors(const std::filesystem::path& path, const StateDict& state,
                       const std::map<std::string, std::string>& metadata = {});

/// The string metadata of a safetensors file; none of a file of another form, which read_state_dict() judges.
std::map<std::string, std::string> read_safetensors_metadata(const std::filesystem::path& path);

}  // namespace minimind
