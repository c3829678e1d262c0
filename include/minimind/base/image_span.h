#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace minimind {

using TokenId = int32_t;

/// How an image stands in text and in token ids (SPEC.md section 3; settings `image_special_token` and `image_ids`).
struct ImagePattern {
  std::string placeholder = "<image>";  ///< written by users and in data sets
  std::string text;                     ///< tokenised in its place; 25 `<` and 25 `>` in the released models
  std::vector<TokenId> ids;             ///< one id per vision token, P in all
};

/// An image's place in a batch: the vision tokens of image k replace the embeddings [position, position + P) of row
/// `row`.
struct ImageSpan {
  int64_t row = 0;
  int64_t position = 0;
  bool operator==(const ImageSpan&) const = default;
};

/// Start positions of all full matches of `pattern` in `ids`, found from the left without overlap.
std::vector<int64_t> find_image_spans(std::span<const TokenId> ids, std::span<const TokenId> pattern);

}  // namespace minimind
