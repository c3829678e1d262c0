#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "minimind/base/error.h"
#include "minimind/base/progress.h"
#include "minimind/train/metrics.h"

namespace minimind {
namespace {

constexpr double kWidth = 460;
constexpr double kHeight = 240;
constexpr double kLeft = 62;
constexpr double kRight = 12;
constexpr double kTop = 12;
constexpr double kBottom = 40;
constexpr size_t kMostPoints = 600;

using Points = std::vector<std::pair<double, double>>;

struct Curve {
  std::string title;
  std::string unit;
  double MetricsRecord::*value;
};

std::string escape_html(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string short_number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.4g", value);
  return text;
}

/// Means of neighbours, so that a long run stays a small page.
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

/// Exponential mean over about a twentieth of the run, without the bias of its start.
Points smooth(const Points& points) {
  const double keep = 1.0 - 1.0 / std::max(1.0, static_cast<double>(points.size()) / 20.0);
  Points out;
  double sum = 0, weight = 0;
  for (const auto& [x, y] : points) {
    sum = keep * sum + y;
    weight = keep * weight + 1;
    out.emplace_back(x, sum / weight);
  }
  return out;
}

/// 1, 2 or 5 times a power of ten, so that about `count` steps cover the range.
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
  double y(double value) const { return kHeight - kBottom - (value - y0) / (y1 - y0) * (kHeight - kTop - kBottom); }
};

Axes fit_axes(const Points& points) {
  Axes axes{points.front().first, points.back().first, points.front().second, points.front().second};
  for (const auto& [x, y] : points) {
    axes.y0 = std::min(axes.y0, y);
    axes.y1 = std::max(axes.y1, y);
  }
  if (axes.y0 > 0 && axes.y0 < 0.5 * axes.y1) {
    axes.y0 = 0;
  }
  const double margin = axes.y1 > axes.y0 ? 0.04 * (axes.y1 - axes.y0) : std::max(1e-12, std::abs(axes.y1) * 0.1);
  axes.y1 += margin;
  axes.y0 -= axes.y0 == 0 ? 0 : margin;
  if (axes.x1 <= axes.x0) {
    axes.x0 -= 1;
    axes.x1 += 1;
  }
  return axes;
}

std::string polyline(const Points& points, const Axes& axes, const char* css_class) {
  std::string out = concat("<polyline class=\"", css_class, "\" points=\"");
  char text[64];
  for (const auto& [x, y] : points) {
    std::snprintf(text, sizeof(text), "%.1f,%.1f ", axes.x(x), axes.y(y));
    out += text;
  }
  return out + "\"/>\n";
}

std::string grid(const Axes& axes, const Curve& curve) {
  std::string out;
  const double y_step = tick_step(axes.y1 - axes.y0, 5);
  for (double value = std::ceil(axes.y0 / y_step) * y_step; value <= axes.y1; value += y_step) {
    const double at = axes.y(value);
    out += concat("<line class=\"grid\" x1=\"", kLeft, "\" x2=\"", kWidth - kRight, "\" y1=\"", at, "\" y2=\"", at,
                  "\"/><text x=\"", kLeft - 6, "\" y=\"", at + 4, "\" text-anchor=\"end\">",
                  short_number(std::abs(value) < y_step * 1e-6 ? 0 : value), "</text>\n");
  }
  const double x_step = tick_step(axes.x1 - axes.x0, 5);
  for (double value = std::ceil(axes.x0 / x_step) * x_step; value <= axes.x1; value += x_step) {
    out += concat("<text x=\"", axes.x(value), "\" y=\"", kHeight - kBottom + 16, "\" text-anchor=\"middle\">",
                  short_number(value), "</text>\n");
  }
  out += concat("<line class=\"axis\" x1=\"", kLeft, "\" x2=\"", kWidth - kRight, "\" y1=\"", kHeight - kBottom,
                "\" y2=\"", kHeight - kBottom, "\"/><line class=\"axis\" x1=\"", kLeft, "\" x2=\"", kLeft, "\" y1=\"",
                kTop, "\" y2=\"", kHeight - kBottom, "\"/>\n");
  const double middle = (kTop + kHeight - kBottom) / 2;
  out += concat("<text class=\"label\" x=\"", (kLeft + kWidth - kRight) / 2, "\" y=\"", kHeight - 6,
                "\" text-anchor=\"middle\">micro-batch</text>", "<text class=\"label\" transform=\"translate(12,",
                middle, ") rotate(-90)\" text-anchor=\"middle\">", curve.unit, "</text>\n");
  return out;
}

std::string chart(const std::vector<const MetricsRecord*>& records, const Curve& curve) {
  Points raw;
  for (const MetricsRecord* record : records) {
    const double value = record->*curve.value;
    if (std::isfinite(value)) {
      raw.emplace_back(static_cast<double>(record->step), value);
    }
  }
  if (raw.empty()) {
    return {};
  }
  const Points smoothed = thin_out(smooth(raw));
  raw = thin_out(raw);
  const Axes axes = fit_axes(raw);
  return concat("<figure><figcaption>", curve.title, "</figcaption><svg viewBox=\"0 0 ", kWidth, " ", kHeight,
                "\" role=\"img\" aria-label=\"", curve.title, "\">\n", grid(axes, curve), polyline(raw, axes, "raw"),
                polyline(smoothed, axes, "smooth"), "</svg></figure>\n");
}

std::string section_of(const std::string& stage, const std::vector<const MetricsRecord*>& records) {
  const std::vector<Curve> curves = {
      {"Loss", "cross-entropy per token", &MetricsRecord::loss},
      {"Learning rate", "learning rate", &MetricsRecord::learning_rate},
      {"Gradient norm, before clipping", "norm", &MetricsRecord::grad_norm},
      {"Speed", "samples per second", &MetricsRecord::samples_per_second},
  };
  const MetricsRecord& last = *records.back();
  std::string out =
      concat("<h2>", escape_html(stage), "</h2>\n<p>micro-batch ", last.step, ", epoch ", short_number(last.epoch),
             ", loss ", short_number(last.loss), ", ", short_number(last.samples_per_second), " samples/s, ",
             short_number(last.tokens_per_second), " tokens/s, waiting for data ", short_number(100 * last.data_wait),
             " %, for other processes ", short_number(100 * last.reduce_wait), " %, peak memory ",
             short_number(last.memory_mb), " MB, ", format_duration(last.seconds), "</p>\n<div class=\"charts\">\n");
  for (const Curve& curve : curves) {
    out += chart(records, curve);
  }
  return out + "</div>\n";
}

constexpr const char* kStyle =
    R"(body{font:15px/1.45 system-ui,sans-serif;margin:2em auto;max-width:1000px;padding:0 1em;color:#222;background:#fff}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(320px,1fr));gap:1em}figure{margin:0}figcaption{font-weight:600}
svg{width:100%;height:auto}text{font-size:11px;fill:#555}.label{fill:#222}.grid{stroke:#e4e4e4}.axis{stroke:#888}
polyline{fill:none;stroke-linejoin:round}.raw{stroke:#9ec5e8;stroke-width:1}.smooth{stroke:#1460aa;stroke-width:2}
.key span{padding-right:1.5em}.key i{display:inline-block;width:1.6em;height:3px;vertical-align:middle;margin-right:.4em})";

}  // namespace

std::string metrics_page(const std::string& title, const std::vector<MetricsRecord>& records) {
  std::string out = concat("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" ",
                           "content=\"width=device-width,initial-scale=1\"><title>", escape_html(title),
                           "</title><style>", kStyle, "</style></head><body>\n<h1>", escape_html(title),
                           "</h1>\n<p class=\"key\"><span><i style=\"background:#9ec5e8\"></i>raw",
                           "</span><span><i style=\"background:#1460aa\"></i>smoothed</span></p>\n");
  std::vector<std::string> stages;
  for (const MetricsRecord& record : records) {
    if (std::find(stages.begin(), stages.end(), record.stage) == stages.end()) {
      stages.push_back(record.stage);
    }
  }
  for (const std::string& stage : stages) {
    std::vector<const MetricsRecord*> of_stage;
    for (const MetricsRecord& record : records) {
      if (record.stage == stage) {
        of_stage.push_back(&record);
      }
    }
    out += section_of(stage, of_stage);
  }
  return out + "</body></html>\n";
}

}  // namespace minimind
