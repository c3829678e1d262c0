#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "minimind/base/image_span.h"
#include "minimind/data/dataset.h"
#include "minimind/text/chat_prompt.h"
#include "minimind/text/tokenizer.h"

namespace minimind {

/// What turns a sample into ids.
struct SampleEncoding {
  const Tokenizer& tokenizer;
  const ImagePattern& pattern;
  int64_t max_seq_len = 512;
  Supervision supervision = Supervision::kLastAnswer;
};

/// Why a sample cannot be trained on (SPEC.md section 5).
enum class SampleProblem {
  kNone,
  kWrongShape,                 ///< of its JSON
  kNoTurn,                     ///< no question with an answer
  kPlaceholdersAgainstImages,  ///< more image placeholders than images, or fewer
  kSpanCut,                    ///< truncation takes a span or a part of one
  kNoMarker,                   ///< truncation leaves no `<s>assistant`
  kNothingSupervised,          ///< no token of an answer is left
};

/// A sample as the model sees it.
struct EncodedSample {
  std::vector<TokenId> ids;    ///< truncated to max_seq_len; inputs are ids[:-1], targets ids[1:]
  std::vector<uint8_t> mask;   ///< aligned with ids: mask[i] says whether ids[i] is a supervised target
  std::vector<int64_t> spans;  ///< start of each image span, in order
  int64_t full_length = 0;     ///< tokens before truncation
  int64_t supervised = 0;      ///< sum of mask[1:]
  SampleProblem problem = SampleProblem::kNone;
  std::string reason;  ///< the problem in words, with the numbers; empty without one
};

/// Renders, tokenises, truncates and masks. A sample with a problem keeps what was computed until the problem was met:
/// ids and mask are the original's except for kWrongShape and kNoTurn.
EncodedSample encode_sample(const Sample& sample, const SampleEncoding& encoding);

}  // namespace minimind
