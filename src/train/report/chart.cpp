#include "train/report/chart.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "minimind/base/error.h"

namespace minimind {
namespace {

constexpr double kWidth = 460;
constexpr double kHeight = 250;
constexpr double kLeft = 74;
constexpr double kRight = 14;
constexpr double kTop = 12;
constexpr double kBottom = 42;
constexpr size_t kMostPoints = 600;

/// 1, 2 or 5 times a power of ten: about `count` such steps cover the range.
double tick_step(double range, int count) {
  const double rough = range / count;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= rough) {
      return factor * power;
    }
  }
  return 10 * power;
}

struct Axes {
  double x0, x1, y0, y1;
  double x(double value) const { return kLeft + (value - x0) / (x1 - x0) * (kWidth - kLeft - kRight); }
  double y(double value) const {
    const double inside = std::clamp(value, y0, y1);
    return kHeight - kBottom - (inside - y0) / (y1 - y0) * (kHeight - kTop - kBottom);
  }
};

/// The highest value to show. A few extreme values must not flatten the rest of the curve.
double highest_shown(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const double highest = values.back();
  const double usual = values[(values.size() - 1) * 98 / 100];
  const double lowest = values.front();
  return highest - lowest > 3 * (usual - lowest) && usual > lowest ? usual + 0.2 * (usual - lowest) : highest;
}

Axes fit_axes(const std::vector<ChartLine>& lines) {
  std::vector<double> xs, ys;
  for (const ChartLine& line : lines) {
    for (const auto& [x, y] : line.points) {
      xs.push_back(x);
      ys.push_back(y);
    }
  }
  Axes axes{std::ranges::min(xs), std::ranges::max(xs), std::ranges::min(ys), highest_shown(ys)};
  if (axes.y0 > 0 && axes.y0 < 0.5 * axes.y1) {
    axes.y0 = 0;
  }
  // Rounding errors of a constant are no range.
  const bool is_flat = axes.y1 - axes.y0 <= 1e-9 * std::abs(axes.y1);
  const double margin = is_flat ? std::max(1e-12, std::abs(axes.y1) * 0.1) : 0.04 * (axes.y1 - axes.y0);
  axes.y1 += margin;
  axes.y0 -= axes.y0 == 0 ? 0 : margin;
  if (axes.x1 <= axes.x0) {
    axes.x0 -= 1;
    axes.x1 += 1;
  }
  return axes;
}

std::string drawn(const ChartLine& line, const Axes& axes) {
  std::string out = concat("<polyline class=\"", line.css_class, "\" points=\"");
  std::string dots;
  char text[96];
  for (const auto& [x, y] : line.points) {
    std::snprintf(text, sizeof(text), "%.1f,%.1f ", axes.x(x), axes.y(y));
    out += text;
    if (line.has_dots) {
      std::snprintf(text, sizeof(text), "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"2.5\"/>",
                    line.css_class.c_str(), axes.x(x), axes.y(y));
      dots += text;
    }
  }
  return out + "\"/>" + dots + "\n";
}

std::string horizontal_grid(const Axes& axes) {
  std::string out;
  const double step = tick_step(axes.y1 - axes.y0, 5);
  for (double value = std::ceil(axes.y0 / step) * step; value <= axes.y1; value += step) {
    const double at = axes.y(value);
    out += concat("<line class=\"grid\" x1=\"", kLeft, "\" x2=\"", kWidth - kRight, "\" y1=\"", at, "\" y2=\"", at,
                  "\"/><text x=\"", kLeft - 6, "\" y=\"", at + 4, "\" text-anchor=\"end\">",
                  short_number(std::abs(value) < step * 1e-6 ? 0 : value), "</text>\n");
  }
  return out;
}

std::string frame(const Axes& axes, const Chart& chart) {
  std::string out = horizontal_grid(axes);
  const double step = std::max(1.0, tick_step(axes.x1 - axes.x0, 5));
  for (double value = std::ceil(axes.x0 / step) * step; value <= axes.x1; value += step) {
    out += concat("<text x=\"", axes.x(value), "\" y=\"", kHeight - kBottom + 16, "\" text-anchor=\"middle\">",
                  short_number(value), "</text>\n");
  }
  out += concat("<line class=\"axis\" x1=\"", kLeft, "\" x2=\"", kWidth - kRight, "\" y1=\"", kHeight - kBottom,
                "\" y2=\"", kHeight - kBottom, "\"/><line class=\"axis\" x1=\"", kLeft, "\" x2=\"", kLeft, "\" y1=\"",
                kTop, "\" y2=\"", kHeight - kBottom, "\"/>\n");
  const double middle = (kTop + kHeight - kBottom) / 2;
  out +=
      concat("<text class=\"label\" x=\"", (kLeft + kWidth - kRight) / 2, "\" y=\"", kHeight - 6,
             "\" text-anchor=\"middle\">", chart.x_label, "</text>", "<text class=\"label\" transform=\"translate(12,",
             middle, ") rotate(-90)\" text-anchor=\"middle\">", chart.y_label, "</text>\n");
  return out;
}

}  // namespace

std::string short_number(double value) {
  char text[32];
  const bool is_long_count = std::abs(value) >= 1e4 && std::abs(value) < 1e9 && value == std::floor(value);
  std::snprintf(text, sizeof(text), is_long_count ? "%.0f" : "%.4g", value);
  return text;
}

Points thin_out(const Points& points) {
  const size_t stride = (points.size() + kMostPoints - 1) / kMostPoints;
  if (stride <= 1) {
    return points;
  }
  Points out;
  for (size_t begin = 0; begin < points.size(); begin += stride) {
    const size_t end = std::min(points.size(), begin + stride);
    double x = 0, y = 0;
    for (size_t i = begin; i < end; ++i) {
      x += points[i].first;
      y += points[i].second;
    }
    const double count = static_cast<double>(end - begin);
    out.emplace_back(x / count, y / count);
  }
  return out;
}

Points smooth(const Points& points) {
  const double widest = std::max(3.0, static_cast<double>(points.size()) / 12);
  Points out;
  for (const auto& [x, y] : points) {
    // A narrow average at the start: a loss falls steeply there.
    const double width = std::min(widest, 1 + static_cast<double>(out.size()) / 4);
    const double weight = 2 / (width + 1);
    out.emplace_back(x, out.empty() ? y : weight * y + (1 - weight) * out.back().second);
  }
  return out;
}

std::string chart_figure(const Chart& chart) {
  Chart shown = chart;
  std::erase_if(shown.lines, [](const ChartLine& line) { return line.points.empty(); });
  if (shown.lines.empty()) {
    return {};
  }
  const Axes axes = fit_axes(shown.lines);
  std::string out = concat("<figure><figcaption>", chart.title, "</figcaption><svg viewBox=\"0 0 ", kWidth, " ",
                           kHeight, "\" role=\"img\" aria-label=\"", chart.title, "\">\n", frame(axes, chart));
  for (const ChartLine& line : shown.lines) {
    out += drawn(line, axes);
  }
  return out + "</svg></figure>\n";
}

}  // namespace minimind
