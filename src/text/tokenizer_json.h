#pragma once

#include <memory>
#include <string>

#include "minimind/text/tokenizer.h"

namespace minimind::text_detail {

/// Reads a Hugging Face `tokenizer.json`. Throws Error on any setting that this tokenizer would not reproduce.
std::unique_ptr<Tokenizer> read_tokenizer_json(const std::string& path);

}  // namespace minimind::text_detail
