#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace minimind::sample {

/// Trains a sentencepiece model (SPEC.md section 4: identity normalisation, no dummy prefix, extra white space kept,
/// byte fallback, unk/bos/eos 0/1/2; `<`, `>` and newline are symbols of their own) and writes it to `model_file`.
/// `vocab_size` is an upper bound: few texts give fewer pieces. Throws Error with sentencepiece's reason.
void train_tokenizer(const std::vector<std::string>& texts, int64_t vocab_size,
                     const std::filesystem::path& model_file);

}  // namespace minimind::sample
