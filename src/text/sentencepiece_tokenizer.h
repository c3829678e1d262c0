#pragma once

#include <memory>
#include <string>

#include "minimind/text/tokenizer.h"

namespace minimind::text_detail {

/// Reads a sentencepiece `.model`. Throws Error if the file is none, lacks `<s>` or `</s>`, or would not give text back
/// (a normalisation other than identity, a dummy prefix, no byte fallback).
std::unique_ptr<Tokenizer> read_sentencepiece_model(const std::string& path);

}  // namespace minimind::text_detail
