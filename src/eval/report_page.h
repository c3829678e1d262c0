#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace minimind {

/// A checkpoint's column.
struct ReportColumn {
  std::string checkpoint;  ///< path
  int64_t tokens = 0;      ///< of all its answers
  int64_t answers = 0;
  double decode_seconds = 0;  ///< of these tokens
  double seconds = 0;         ///< of the answers, from the decoded image to the last token
  double load_seconds = 0;
  std::string scores;  ///< a phrase; "" without
};

struct ReportImage {
  std::string name;
  std::string jpeg;  ///< a small copy; "" where the image cannot be read
};

struct ReportAnswer {
  std::string text;
  std::string problem;  ///< why there is none; "" otherwise
};

struct ReportRow {
  std::vector<ReportImage> images;
  std::vector<ReportAnswer> answers;  ///< one a column; empty where the images cannot be read
  std::string problem;                ///< why not
  std::string question;               ///< what is asked about the images
};

/// The same questions to several checkpoints.
struct Report {
  std::string settings;  ///< a phrase: how the answers were drawn
  std::vector<ReportColumn> columns;
  std::vector<ReportRow> rows;
};

/// One HTML page without outside parts: images in rows, checkpoints in columns. The question stands in the head where
/// all rows have the same, else above each row. All text is escaped.
std::string report_page(const Report& report);

/// A column's title: the file's name without its ending, the whole path where two columns would read the same.
std::vector<std::string> column_titles(const std::vector<ReportColumn>& columns);

}  // namespace minimind
