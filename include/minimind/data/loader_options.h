#pragma once

#include <cstdint>
#include <string>

#include "minimind/base/image_span.h"
#include "minimind/data/dataset.h"
#include "minimind/data/image_source.h"
#include "minimind/text/chat_prompt.h"
#include "minimind/text/tokenizer.h"

namespace minimind {

class FeatureCache;

struct LoaderOptions {
  int64_t batch_size = 32;    ///< samples per micro-batch and rank
  int64_t num_workers = 8;    ///< loader threads, at most most_threads(); 0: load in the caller's thread
  int64_t max_seq_len = 512;  ///< maximum tokens per sample; longer samples are truncated
  int64_t image_size = 224;   ///< side of the resized images in pixels
  int64_t prefetch = 4;       ///< finished batches that may wait
  uint64_t seed = 1337;
  bool original_order = false;   ///< keep the file order in every epoch
  bool bucket_by_length = true;  ///< batch samples of similar length; every epoch still has each sample once
  int64_t block_size = 0;        ///< samples per order block (epoch_order()); 0: batch_size * world_size
  Supervision supervision = Supervision::kLastAnswer;
  int64_t rank = 0;
  int64_t world_size = 1;
  std::string instruction_prefix = "COCO_train2014_";  ///< file-name prefix of the images of DataKind::kInstruction

  std::string image_prefix(DataKind kind) const { return kind == DataKind::kInstruction ? instruction_prefix : ""; }
};

/// What a loader reads from. The referenced objects must outlive the loader.
struct LoaderInput {
  const Dataset& dataset;
  DataKind kind;
  const Tokenizer& tokenizer;
  const ImagePattern& pattern;
  const ImageSource& images;
  const FeatureCache* cache = nullptr;  ///< null: decode every image
};

}  // namespace minimind
