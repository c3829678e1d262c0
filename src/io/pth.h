#pragma once

#include <filesystem>

#include "minimind/base/file.h"
#include "minimind/io/state_dict.h"

namespace minimind {

/// Whether the file begins as a zip archive does.
bool is_zip(const MappedFile& file);

/// Reads a state dict that torch.save wrote in zip form. The tensors are views into the mapping. Checks every checksum;
/// runs no code of the pickle. Throws Error with path, expected, found and the cure.
StateDict read_pth(const MappedFile& file);

/// The record of a `.pth` that holds the model's configuration as JSON. Python's torch.load passes over it.
inline constexpr const char* kPthConfigRecord = "minimind_config.json";

/// The configuration in a `.pth`; "" if it holds none. Throws Error if the archive is damaged.
std::string read_pth_config(const MappedFile& file);

/// Writes a file that Python's torch.load(weights_only=True) reads: zip container, pickled OrderedDict. Tensors that
/// share a storage stay shared. `config`: for kPthConfigRecord, unless it is empty. Equal state dicts give equal bytes.
/// Throws Error if the file cannot be written.
void write_pth(const std::filesystem::path& path, const StateDict& state, const std::string& config = "");

}  // namespace minimind
