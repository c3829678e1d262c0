#include "train/run/agreement.h"

#include <c10/core/ScalarType.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "io/tensor_hash.h"
#include "minimind/base/content_hash.h"
#include "minimind/base/error.h"
#include "model/weight_match.h"
#include "train/features.h"

namespace minimind {
namespace {

/// The part of a value that all ranks share. Hosts may keep their files elsewhere and have other processors and memory:
/// for such a setting the ranks share only whether it is given.
std::string shared_value(const Field& field) {
  const std::string value = field_value_text(field);
  return field.host_specific && !value.empty() ? "(given)" : value;
}

std::string text_or_none(const std::string& value) {
  return value.empty() ? "none" : value;
}

std::string differences(TrainOptions first, TrainOptions other) {
  std::string text;
  const Fields fields = first.fields(), other_fields = other.fields();
  for (size_t i = 0; i < fields.size(); ++i) {
    if (shared_value(fields[i]) != shared_value(other_fields[i])) {
      text +=
          concat(text.empty() ? "" : ", ", "--", fields[i].name, ' ', text_or_none(field_value_text(other_fields[i])),
                 " (rank 0: ", text_or_none(field_value_text(fields[i])), ")");
    }
  }
  return text;
}

/// One line per content.
std::string to_lines(const std::vector<RankContent>& contents) {
  std::string text;
  for (const RankContent& content : contents) {
    text += concat(content.flag, ": ", content.summary, ", digest ", content.digest, '\n');
  }
  return text;
}

/// The first line of each text in which they differ.
std::pair<std::string, std::string> first_difference(std::string_view a, std::string_view b) {
  while (!a.empty() || !b.empty()) {
    const std::string_view line_a = a.substr(0, a.find('\n')), line_b = b.substr(0, b.find('\n'));
    if (line_a != line_b) {
      return {std::string(line_a), std::string(line_b)};
    }
    a.remove_prefix(std::min(a.size(), line_a.size() + 1));
    b.remove_prefix(std::min(b.size(), line_b.size() + 1));
  }
  return {};
}

std::string weights_digest(const VlmImpl& model) {
  return to_hex(hash_tensors(named_weights(model)));
}

}  // namespace

void require_equal_options(const TrainOptions& options, Stage stage, ProcessGroup& group) {
  TrainOptions own = options;
  const std::vector<std::string> stages = group.gather(stage_name(stage));
  const std::vector<std::string> texts = group.gather(fields_to_json(own.fields()));
  for (size_t rank = 1; rank < texts.size(); ++rank) {
    require(stages[rank] == stages[0], "rank ", rank, " of ", texts.size(), ": expected the stage of rank 0, ",
            stages[0], ", found ", stages[rank], "; start the same program on all ranks");
    TrainOptions first, other;
    fields_from_json(first.fields(), texts[0], "options of rank 0");
    fields_from_json(other.fields(), texts[rank], concat("options of rank ", rank));
    const std::string text = differences(first, other);
    require(
        text.empty(), "rank ", rank, " of ", texts.size(), ": expected the options of rank 0, found ", text,
        "; start all ranks with the same options (paths, --device, --threads, --num_workers and --feature_memory_mb ",
        "may differ)");
  }
}

RankContent content_of(const std::string& flag, const Dataset& dataset) {
  return {flag, concat(dataset.size(), " samples"), to_hex(dataset.digest())};
}

std::vector<RankContent> contents_of(TrainingSetup& setup) {
  return {{"device", setup.device.is_cpu() ? "CPU" : "GPU", c10::toString(setup.dtype)},
          content_of("data_path", *setup.dataset),
          {"tokenizer", concat(setup.tokenizer->vocab_size(), " tokens"), setup.tokenizer_digest},
          {"clip_dir", "encoder", encoder_key(*setup.encoder)},
          {"init_from", "weights", weights_digest(*setup.model)}};
}

void require_equal_contents(const std::vector<RankContent>& contents, ProcessGroup& group) {
  const std::vector<std::string> texts = group.gather(to_lines(contents));
  for (size_t rank = 1; rank < texts.size(); ++rank) {
    const auto [expected, found] = first_difference(texts[0], texts[rank]);
    require(expected == found, "rank ", rank, " of ", texts.size(), ": expected the files of rank 0, --", expected,
            ", found --", found, "; give all ranks the same files");
  }
}

}  // namespace minimind
