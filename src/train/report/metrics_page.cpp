#include "train/report/metrics_page.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdio>
#include <iterator>
#include <optional>

#include "base/html.h"
#include "base/progress.h"
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

constexpr const char* kStepLabel = "micro-batch";

/// One line of a chart. The style of the page defines the CSS class.
struct ChartLine {
  std::string css_class;
  Points points;
  bool has_dots = false;
};

struct Chart {
  std::string title;
  std::string y_label;
  std::vector<ChartLine> lines;
};

/// At most four significant digits; integers below 1e9 in full.
std::string short_number(double value) {
  char text[32];
  const bool is_long_count = std::abs(value) >= 1e4 && std::abs(value) < 1e9 && value == std::floor(value);
  std::snprintf(text, sizeof(text), is_long_count ? "%.0f" : "%.4g", value);
  return text;
}

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
  out += concat("<text class=\"label\" x=\"", (kLeft + kWidth - kRight) / 2, "\" y=\"", kHeight - 6,
                "\" text-anchor=\"middle\">", kStepLabel, "</text>", "<text class=\"label\" transform=\"translate(12,",
                middle, ") rotate(-90)\" text-anchor=\"middle\">", chart.y_label, "</text>\n");
  return out;
}

/// Means of neighbouring points, so that the page of a long run stays small.
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

/// An SVG figure with axes, ticks and labels. Cuts off a few extreme values at the top. Empty without points.
std::string chart_figure(Chart chart) {
  std::erase_if(chart.lines, [](const ChartLine& line) { return line.points.empty(); });
  if (chart.lines.empty()) {
    return {};
  }
  const Axes axes = fit_axes(chart.lines);
  std::string out = concat("<figure><figcaption>", chart.title, "</figcaption><svg viewBox=\"0 0 ", kWidth, " ",
                           kHeight, "\" role=\"img\" aria-label=\"", chart.title, "\">\n", frame(axes, chart));
  for (const ChartLine& line : chart.lines) {
    out += drawn(line, axes);
  }
  return out + "</svg></figure>\n";
}

/// A section of the page: model and stage.
using Section = std::pair<std::string, std::string>;

template <class Record>
std::vector<Record> records_of(const std::vector<Record>& records, const Section& section) {
  std::vector<Record> own;
  std::ranges::copy_if(records, std::back_inserter(own),
                       [&](const Record& record) { return Section(record.model, record.stage) == section; });
  return own;
}

/// The points of the metric at this index of the records' field lists.
template <class Record>
Points points_of(std::vector<Record>& records, size_t metric) {
  Points points;
  for (Record& record : records) {
    const std::optional<double> value = record.fields()[metric].number();
    if (value && std::isfinite(*value)) {
      points.emplace_back(static_cast<double>(record.micro_step), *value);
    }
  }
  return points;
}

std::string curves_of(std::vector<MetricsRecord>& records) {
  std::string out;
  const MetricFields fields = records.front().fields();
  for (size_t metric = 0; metric < fields.size(); ++metric) {
    if (*fields[metric].title != '\0') {
      const Points points = thin_out(points_of(records, metric));
      out += chart_figure({fields[metric].title,
                           fields[metric].unit,
                           {{"raw", points, /*has_dots=*/points.size() < 12}, {"smooth", smooth(points), false}}});
    }
  }
  return out;
}

/// One chart with the losses with the right, swapped and no images.
std::string validation_part(std::vector<ValidationRecord> records) {
  if (records.empty()) {
    return {};
  }
  Chart chart{"Held-out loss", "cross-entropy per token", {}};
  const MetricFields fields = records.front().fields();
  for (size_t metric = fields.size(); metric-- > 0;) {
    if (*fields[metric].title != '\0') {
      chart.lines.push_back({fields[metric].title, points_of(records, metric), true});
    }
  }
  std::string summary = validation_summary(records.back()) + ".";
  summary[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(summary[0])));
  return concat(
      "<div class=\"held\">", chart_figure(chart), "<div><p class=\"key\"><span><i class=\"k-right\"></i>right ",
      "image</span><span><i class=\"k-swapped\"></i>another sample's</span><span><i class=\"k-none\"></i>none",
      "</span></p>\n<p>", escape_html(summary), "</p></div></div>\n");
}

std::string latest_numbers(const MetricsRecord& last) {
  const auto cell = [](const char* name, const std::string& value) {
    return concat("<div><b>", value, "</b><small>", name, "</small></div>");
  };
  const auto percent = [](double share) { return short_number(std::round(1000 * share) / 10) + " %"; };
  return concat("<div class=\"now\">", cell(kStepLabel, short_number(static_cast<double>(last.micro_step))),
                cell("epoch", short_number(last.epoch)), cell("loss", short_number(last.loss)),
                cell("samples/s", short_number(last.samples_per_second)),
                cell("tokens/s", short_number(std::round(last.tokens_per_second))), cell("MFU", percent(last.mfu)),
                cell("waiting for data", percent(last.data_wait_share)),
                cell("reduction", percent(last.reduce_wait_share)),
                std::isnan(last.save_wait_share) ? "" : cell("waiting for saves", percent(last.save_wait_share)),
                cell("peak memory", format_bytes(1e6 * last.memory_mb)),
                last.device_memory_mb ? cell("peak on the GPU", format_bytes(1e6 * *last.device_memory_mb)) : "",
                cell("time", format_duration(last.seconds)), "</div>\n");
}

constexpr const char* kStyle =
    R"(:root{--ink:#222;--dim:#666;--paper:#fff;--grid:#e6e6e6;--raw:#a9cbe8;--smooth:#1460aa;--swapped:#c8641a;--none:#888}
@media(prefers-color-scheme:dark){:root{--ink:#e8e8e8;--dim:#a0a0a0;--paper:#17181a;--grid:#34363a;--raw:#3d5d7c;--smooth:#6db3f2;
--swapped:#f0a060;--none:#999}}
body{font:15px/1.45 system-ui,sans-serif;margin:2em auto;max-width:1000px;padding:0 1em;color:var(--ink);background:var(--paper)}
h1{font-size:1.4em}h2{font-size:1.15em;margin:1.6em 0 .6em;border-top:1px solid var(--grid);padding-top:.8em}
.now{display:flex;flex-wrap:wrap;gap:.6em 1.8em}.now b{display:block;font-size:1.15em}.now small{color:var(--dim)}
.charts,.held{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),1fr));gap:1.2em}.held{margin-top:1em;align-items:center}
figure{margin:0}figcaption{font-weight:600}svg{width:100%;height:auto}text{font-size:11px;fill:var(--dim)}.label{fill:var(--ink)}
.grid{stroke:var(--grid)}.axis{stroke:var(--dim)}polyline{fill:none;stroke-linejoin:round;stroke-width:2}
.raw{stroke:var(--raw);stroke-width:1}.smooth,.right{stroke:var(--smooth)}.swapped{stroke:var(--swapped)}.none{stroke:var(--none)}
circle.raw{fill:var(--raw)}circle.right{fill:var(--smooth)}circle.swapped{fill:var(--swapped)}circle.none{fill:var(--none)}
.key span{padding-right:1.5em}.key i{display:inline-block;width:1.6em;height:3px;vertical-align:middle;margin-right:.4em}
.k-raw{background:var(--raw)}.k-smooth,.k-right{background:var(--smooth)}.k-swapped{background:var(--swapped)}
.k-none{background:var(--none)})";

}  // namespace

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

std::string metrics_page(const std::string& title, const std::vector<MetricsRecord>& records,
                         const std::vector<ValidationRecord>& validations, bool is_live) {
  const std::string safe_title = escape_html(title);
  std::string out = concat("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" ",
                           "content=\"width=device-width,initial-scale=1\">",
                           is_live ? "<meta http-equiv=\"refresh\" content=\"15\">" : "", "<title>", safe_title,
                           "</title><style>", kStyle, "</style></head><body>\n<h1>", safe_title, "</h1>\n");
  std::vector<Section> sections;
  for (const MetricsRecord& record : records) {
    if (const Section section(record.model, record.stage); std::ranges::count(sections, section) == 0) {
      sections.push_back(section);
    }
  }
  for (const Section& section : sections) {
    const auto& [model, stage] = section;
    std::vector<MetricsRecord> own = records_of(records, section);
    out += concat("<h2>", escape_html(stage + (model.empty() ? "" : ", " + model)), "</h2>\n",
                  latest_numbers(own.back()), validation_part(records_of(validations, section)),
                  "<p class=\"key\"><span><i class=\"k-raw\"></i>raw</span><span><i class=\"k-smooth\"></i>",
                  "smoothed</span></p>\n<div class=\"charts\">\n", curves_of(own), "</div>\n");
  }
  return out + "</body></html>\n";
}

}  // namespace minimind
