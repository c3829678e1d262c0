#include <string>

#include "base/utf8.h"
#include "data/sample_reader.h"
#include "minimind/base/error.h"
#include "minimind/base/file.h"
#include "minimind/base/log.h"
#include "minimind/data/dataset.h"

namespace minimind {

// Reads from front to back, without a document tree. The pages of the file that were read go back to the system.
Dataset Dataset::load(const std::filesystem::path& json_path, DataKind kind) {
  const MappedFile file(json_path);
  Dataset dataset;
  // Decoded text is never longer than its JSON. Pages that stay untouched cost nothing.
  dataset.text_.reserve(file.bytes().size());
  std::string first_note;
  detail::SampleReader(file, kind, [&](const Sample& sample) {
    if (!sample.note.empty() && first_note.empty()) {
      first_note = concat("'", printable(sample.id), "': ", printable(sample.note));
    }
    dataset.append(sample);
  }).read();
  if (!first_note.empty()) {
    log_warning(concat(json_path.string(), ": the roles of ", dataset.notes_.size(), " of ", dataset.size(),
                       " conversations do not alternate, so messages are left out; the first, ", first_note,
                       "; --check_data lists all"));
  }
  return dataset;
}

}  // namespace minimind
