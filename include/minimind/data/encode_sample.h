#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "minimind/base/image_span.h"
#include "minimind/data/dataset.h"
#include "minimind/text/chat_prompt.h"
#include "minimind/text/tokenizer.h"

namespace minimind {

/// How encode_sample() turns a sample into token ids. The referenced objects must outlive it.
struct SampleEncoding {
  const Tokenizer& tokenizer;
  const ImagePattern& pattern;
  int64_t max_seq_len = 512;
  Supervision supervision = Supervision::kLastAnswer;
};

/// Why a sample cannot be trained on (SPEC.md section 5), in the order of a report. Only audit_data() finds those that
/// concern image files and other samples.
enum class SampleProblem {
  kNone,
  kWrongShape,  ///< its JSON has the wrong shape
  kMissingImage,
  kCorruptImage,
  kPlaceholdersAgainstImages,  ///< their numbers differ
  kSpanCut,                    ///< truncation removes an image span or a part of it
  kNoTurn,                     ///< no question with an answer
  kNoMarker,                   ///< truncation leaves no `<s>assistant`
  kNothingSupervised,          ///< truncation leaves no token of an answer
  kNotEncoded,                 ///< cannot be encoded for another reason
  kDuplicateId,                ///< is reported; such a sample is not skipped
  kRolesOutOfOrder,            ///< messages are left out; is reported; such a sample is not skipped
  kTurnedImage,                ///< a photo is read as stored, not as its EXIF says; is reported, not skipped
};
constexpr int kSampleProblems = 13;

/// A sample as token ids.
struct EncodedSample {
  std::vector<TokenId> ids;    ///< truncated to max_seq_len; inputs are ids[:-1], targets are ids[1:]
  std::vector<uint8_t> mask;   ///< mask[i] is 1 if ids[i] is a target that counts in the loss
  std::vector<int64_t> spans;  ///< start of each image span, in order
  int64_t full_length = 0;     ///< tokens before truncation
  int64_t supervised = 0;      ///< sum of mask[1:]
  SampleProblem problem = SampleProblem::kNone;
  std::string reason;  ///< a text for the problem, with its numbers; empty if there is no problem
};

/// Renders the chat, tokenizes and truncates it, and builds the loss mask. ids and mask equal those of the original,
/// except that a sample with kWrongShape or kNoTurn has none.
EncodedSample encode_sample(const Sample& sample, const SampleEncoding& encoding);

}  // namespace minimind
