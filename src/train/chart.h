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
/// Straight lines fitted to about a twelfth of the points on each side (three at least): it does not lag, and it starts
/// where the points start.
Points smooth(const Points& points);

std::string short_number(double value);

}  // namespace minimind::detail
