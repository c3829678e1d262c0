#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace minimind {

/// One checkpoint.
struct ReportColumn {
  std::string checkpoint;  ///< path
  int64_t tokens = 0;      ///< of all answers
  int64_t answers = 0;
  double decode_seconds = 0;  ///< decoding time of the tokens
  double seconds = 0;         ///< time of the answers, from the decoded image to the last token
  double load_seconds = 0;
  std::string scores;  ///< a phrase; "" without scores
};

struct ReportImage {
  std::string name;
  std::string jpeg;  ///< a small copy; "" if the image cannot be read
};

struct ReportAnswer {
  std::string text;
  std::string problem;  ///< why there is no answer; "" if there is one
};

struct ReportRow {
  std::vector<ReportImage> images;
  std::vector<ReportAnswer> answers;  ///< one for each column; empty if an image cannot be read
  std::string problem;                ///< why there are no answers; "" if there are
  std::string question;               ///< about the images
};

/// The same questions to several checkpoints.
struct Report {
  std::string settings;  ///< a phrase: how the answers were sampled
  std::vector<ReportColumn> columns;
  std::vector<ReportRow> rows;
};

/// One HTML page without external parts: images in rows, checkpoints in columns. The question stands at the top if all
/// rows have the same question, else above each row. All text is escaped.
std::string report_page(const Report& report);

/// Column titles: the file name without its extension; the whole path for columns that would have the same title.
std::vector<std::string> column_titles(const std::vector<ReportColumn>& columns);

}  // namespace minimind
