#pragma once

#include <cstdint>
#include <string>

#include "minimind/base/fields.h"

namespace minimind::sample {

/// The settings of make_sample_data. The defaults are the quickstart's.
struct SampleDataOptions {
  std::string out;
  int64_t images = 16000;
  int64_t questions_per_picture = 1;
  int64_t pairs = 6000;
  int64_t held_out = 2000;
  int64_t unseen = 400;
  int64_t held_out_pairs = 500;
  double two_objects = 0.08;
  int64_t turns = 1;
  int64_t vocab_size = 768;
  int64_t clip_width = 384;
  int64_t clip_layers = 1;
  int64_t jpeg_quality = 92;
  int64_t png_every = 40;
  int64_t threads = 2;
  int64_t seed = 1337;

  Fields fields();
  /// Throws UsageError if a value is out of range.
  void validate() const;
};

/// Writes into the folder `out`:
///   images/                                  128x128 JPEG and PNG files
///   pretrain.json sft.json sft_multi.json    training data in the formats of docs/SPEC.md section 5
///   pretrain_held_out.json held_out.json multi_held_out.json   held-out images
///   unseen.json                              images of colour-shape combinations that training never shows
///   attributes.json                          the words that make an answer to a held-out question right
///   clip/                                    frozen image encoder with seeded random weights
///   tokenizer.model                          sentencepiece, trained on the texts of the training data
/// Equal options give equal bytes for any number of threads. Returns a summary in one line. Throws Error if the folder
/// cannot be written.
std::string write_sample_data(const SampleDataOptions& options);

}  // namespace minimind::sample
