#include "train/agreement.h"

#include <algorithm>
#include <vector>

#include "minimind/base/content_hash.h"
#include "minimind/base/error.h"

namespace minimind {
namespace {

/// The part of a value that all ranks share. Hosts may keep their files elsewhere and have other processors and memory:
/// for such a setting the ranks share only whether it is given.
std::string shared_value(const Field& field) {
  const std::string value = field_value_text(field);
  return field.host_specific && !value.empty() ? "(given)" : value;
}

std::string differences(TrainOptions first, TrainOptions other) {
  const auto text_of = [](const Field& field) {
    const std::string value = field_value_text(field);
    return value.empty() ? "none" : value;
  };
  std::string text;
  const Fields fields = first.fields(), other_fields = other.fields();
  for (size_t i = 0; i < fields.size(); ++i) {
    if (shared_value(fields[i]) != shared_value(other_fields[i])) {
      text += concat(text.empty() ? "" : ", ", "--", fields[i].name, ' ', text_of(other_fields[i]),
                     " (rank 0: ", text_of(fields[i]), ")");
    }
  }
  return text;
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

std::string content_line(const std::string& flag, const std::string& summary, const std::string& digest) {
  return concat(flag, ": ", summary, ", digest ", digest, '\n');
}

std::string content_line(const std::string& flag, const Dataset& dataset) {
  return content_line(flag, concat(dataset.size(), " samples"), to_hex(dataset.digest()));
}

void require_equal_contents(const std::string& contents, ProcessGroup& group) {
  const std::vector<std::string> texts = group.gather(contents);
  const std::string& first = texts[0];
  for (size_t rank = 1; rank < texts.size(); ++rank) {
    const auto equal = std::ranges::mismatch(first, texts[rank]).in1 - first.begin();
    const size_t begin = first.substr(0, static_cast<size_t>(equal)).rfind('\n') + 1;
    const auto line_of = [begin](const std::string& text) {
      return text.substr(begin, text.find('\n', begin) - begin);
    };
    require(first == texts[rank], "rank ", rank, " of ", texts.size(), ": expected the files of rank 0, --",
            line_of(first), ", found --", line_of(texts[rank]), "; give all ranks the same files");
  }
}

}  // namespace minimind
