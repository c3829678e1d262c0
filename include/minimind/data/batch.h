#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "minimind/base/content_hash.h"
#include "minimind/base/image_span.h"

namespace minimind {

/// A micro-batch, ready for the model, on the CPU. S is the longest sample's length minus one.
struct Batch {
  at::Tensor ids;                ///< [B, S] int64: ids[:-1], padded with 0
  at::Tensor targets;            ///< [B, S] int64: ids[1:], padded with 0
  at::Tensor mask;               ///< [B, S] bool: targets that count in the loss
  at::Tensor images;             ///< [M, 3, image_size, image_size] uint8: those without features; undefined for M = 0
  at::Tensor features;           ///< [N, P, W] from the feature cache; undefined if it had none of them (then M = N)
  std::vector<int64_t> missing;  ///< where features are defined: the M rows of them that are not filled
  std::vector<ImageSpan> spans;  ///< image k of N stands at spans[k]
  std::vector<std::string> image_names;   ///< N; for messages
  std::vector<ContentHash> image_hashes;  ///< N where the loader has a feature cache, else empty: keys for put()
  std::vector<std::string> sample_ids;    ///< B
  std::vector<int64_t> sample_indices;    ///< B: positions in the data set
  int64_t supervised_tokens = 0;          ///< sum of the mask; never 0 when a loader hands it out
  int64_t tokens = 0;                     ///< real tokens (padding left out)
};

}  // namespace minimind
