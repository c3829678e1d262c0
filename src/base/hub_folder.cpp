#include "base/hub_folder.h"

#include <string>
#include <system_error>
#include <vector>

#include "base/text.h"
#include "minimind/base/error.h"
#include "minimind/base/file.h"

namespace minimind {

std::filesystem::path hub_snapshot(const std::filesystem::path& folder) {
  std::error_code failure;
  const fs::path snapshots = folder / "snapshots";
  if (!fs::is_directory(snapshots, failure) || fs::exists(folder / "config.json", failure)) {
    return folder;
  }
  if (const fs::path main = folder / "refs/main"; fs::is_regular_file(main, failure)) {
    const fs::path revision = snapshots / fs::path(std::string(strip(read_file(main)))).filename();
    if (fs::is_directory(revision, failure)) {
      return revision;
    }
  }
  std::vector<fs::path> revisions;
  for (const auto& entry : fs::directory_iterator(snapshots, failure)) {
    if (entry.is_directory(failure)) {
      revisions.push_back(entry.path());
    }
  }
  require(revisions.size() == 1, folder.string(),
          ": expected a Hugging Face cache with one revision or refs/main, found ", revisions.size(), " revisions in ",
          snapshots.string(), "; give the folder of one revision");
  return revisions.front();
}

}  // namespace minimind
