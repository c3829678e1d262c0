#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "minimind/base/file.h"
#include "minimind/io/state_dict.h"

namespace minimind {

/// Whether a JSON object begins where the header of a safetensors file does.
bool has_safetensors_header(const MappedFile& file);

/// Whether read_state_dict() takes the file for safetensors: by its header, or by its name unless it is a zip archive.
bool is_safetensors(const MappedFile& file);

/// Tensors as views into the mapping, in the order of their data. Throws Error if the header is damaged, or if the
/// tensors leave gaps in the data or overlap.
StateDict read_safetensors(const MappedFile& file);

/// The metadata of a safetensors file; empty for a file of another format.
std::map<std::string, std::string> read_safetensors_metadata(const std::filesystem::path& path);

/// Writes the tensors aligned to their element size. Tensors that share their data are a std::logic_error: the caller
/// leaves one of a tied pair out.
void write_safetensors(const std::filesystem::path& path, const StateDict& state,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace minimind
