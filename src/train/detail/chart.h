#pragma once

#include <string>
#include <utility>
#include <vector>

namespace minimind::detail {

using Points = std::vector<std::pair<double, double>>;

/// One line of a chart. The page's style knows the class names.
struct ChartLine {
  std::string css_class;
  Points points;
  bool has_dots = false;
};

struct Chart {
  std::string title;
  std::string x_label;
  std::string y_label;
  std::vector<ChartLine> lines;
};

/// An SVG figure with axes, ticks and labels; values beyond a few wild ones at the top are cut off. Empty without
/// points.
std::string chart_figure(const Chart& chart);

/// Means of neighbours, so that a long run stays a small page.
Points thin_out(const Points& points);
/// Exponential mean over about a twentieth of the run, to both sides so that it does not lag.
Points smooth(const Points& points);

std::string short_number(double value);

}  // namespace minimind::detail
