#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "minimind/text/tokenizer.h"

namespace minimind {

/// Reads a `tokenizer.json` (byte-level BPE), a sentencepiece `.model`, or a folder that holds one of them; if it holds
/// both, the `tokenizer.json`. Throws Error that names the file, what was expected and what was found.
std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& path);

/// Reads the tokenizer of a model. Throws Error too if it has more tokens than `vocabulary`, the vocabulary size of
/// `model`.
std::unique_ptr<Tokenizer> load_tokenizer_for(const std::string& model, int64_t vocabulary,
                                              const std::filesystem::path& path);

/// The file that load_tokenizer() reads: `path` itself, or the file in the folder. Throws Error.
std::filesystem::path tokenizer_file(const std::filesystem::path& path);

}  // namespace minimind
