#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace minimind {

using TokenId = int32_t;

/// What stands for an image in text and in ids (SPEC.md section 3). Both are configuration (`image_special_token`,
/// `image_ids`).
struct ImagePattern {
  std::string placeholder = "<image>";  ///< what a user or a data set writes
  std::string text;                     ///< what the tokenizer would see: 25 `<` and 25 `>` in the released models
  std::vector<TokenId> ids;             ///< the placeholder ids, one per vision token; its length is P
};

/// An image's place in a batch: the vision tokens of image k replace the embeddings [position, position + P) of row
/// `row`.
struct ImageSpan {
  int64_t row = 0;
  int64_t position = 0;
  bool operator==(const ImageSpan&) const = default;
};

/// Start positions of every full, non-overlapping match of `pattern` in `ids`, from the left.
std::vector<int64_t> find_image_spans(std::span<const TokenId> ids, std::span<const TokenId> pattern);
std::vector<int64_t> find_image_spans(std::span<const int64_t> ids, std::span<const TokenId> pattern);

}  // namespace minimind
