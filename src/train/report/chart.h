#pragma once

#include <string>
#include <utility>
#include <vector>

namespace minimind {

using Points = std::vector<std::pair<double, double>>;

/// One line of a chart. The style of the page defines the CSS class.
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

/// An SVG figure with axes, ticks and labels. Cuts off a few extreme values at the top. Empty without points.
std::string chart_figure(const Chart& chart);

/// Means of neighbouring points, so that the page of a long run stays small.
Points thin_out(const Points& points);
/// Exponential moving average over about a twelfth of the points, over fewer points at the start of the curve.
Points smooth(const Points& points);

/// At most four significant digits; integers below 1e9 in full.
std::string short_number(double value);

}  // namespace minimind
