#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace minimind::sample {

/// Trains a sentencepiece model (docs/SPEC.md section 4) and writes it to `model_file`. Settings: identity
/// normalisation, no dummy prefix, extra white space kept, byte fallback, ids 0 to 2 for unk, bos and eos; `<`, `>` and
/// newline are symbols. `vocab_size` is the maximum: few texts give fewer pieces. Throws Error with sentencepiece's
/// reason.
void train_tokenizer(const std::vector<std::string>& texts, int64_t vocab_size,
                     const std::filesystem::path& model_file);

}  // namespace minimind::sample
