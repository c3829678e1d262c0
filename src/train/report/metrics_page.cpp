#include "train/report/metrics_page.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <iterator>
#include <optional>
#include <utility>

#include "base/html.h"
#include "base/progress.h"
#include "minimind/base/error.h"
#include "train/report/chart.h"

namespace minimind {
namespace {

constexpr const char* kStepLabel = "micro-batch";
constexpr const char* kValidationUnit = "cross-entropy per token";

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
                           kStepLabel,
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
  Chart chart{"Held-out loss", kStepLabel, kValidationUnit, {}};
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
