#pragma once

#include <memory>
#include <string>

#include "minimind/text/tokenizer.h"

namespace minimind::text_detail {

/// Reads a sentencepiece `.model`. Throws Error if the file is no such model, if it lacks `<s>` or `</s>`, or if
/// decoding would not give the text back (a normalisation other than identity, a dummy prefix, no byte fallback).
std::unique_ptr<Tokenizer> read_sentencepiece_model(const std::string& path);

}  // namespace minimind::text_detail
