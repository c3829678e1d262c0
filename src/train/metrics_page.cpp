#include <algorithm>
#include <cctype>
#include <cmath>
#include <iterator>
#include <string>
#include <vector>

#include "base/html.h"
#include "base/progress.h"
#include "minimind/base/error.h"
#include "train/chart.h"
#include "train/metrics.h"

namespace minimind {
namespace {

using detail::Chart;
using detail::chart_figure;
using detail::Points;
using detail::short_number;

constexpr const char* kStepLabel = "micro-batch";

struct Curve {
  std::string title;
  std::string unit;
  double MetricsRecord::*value;
};

template <class Record>
Points points_of(const std::vector<Record>& records, double Record::*value) {
  Points points;
  for (const Record& record : records) {
    if (std::isfinite(record.*value)) {
      points.emplace_back(static_cast<double>(record.step), record.*value);
    }
  }
  return points;
}

/// What has a section of its own: a stage of one model.
struct Section {
  std::string model;
  std::string stage;
  bool operator==(const Section&) const = default;
};

template <class Record>
std::vector<Record> of_section(const std::vector<Record>& records, const Section& section) {
  std::vector<Record> own;
  std::copy_if(records.begin(), records.end(), std::back_inserter(own), [&](const Record& record) {
    return Section{record.model, record.stage} == section;
  });
  return own;
}

std::string chart_of(const std::vector<MetricsRecord>& records, const Curve& curve) {
  const Points points = points_of(records, curve.value);
  Chart chart{curve.title, kStepLabel, curve.unit, {}};
  const bool is_short = points.size() < 12;
  chart.lines.push_back({"raw", detail::thin_out(points), is_short});
  chart.lines.push_back({"smooth", detail::smooth(detail::thin_out(points)), false});
  return chart_figure(chart);
}

std::string sentence(std::string text) {
  text[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[0])));
  return text + ".";
}

std::string validation_part(const std::vector<ValidationRecord>& records) {
  if (records.empty()) {
    return {};
  }
  Chart chart{"Held-out loss", kStepLabel, "cross-entropy per token", {}};
  chart.lines.push_back({"none", points_of(records, &ValidationRecord::none), true});
  chart.lines.push_back({"swapped", points_of(records, &ValidationRecord::swapped), true});
  chart.lines.push_back({"right", points_of(records, &ValidationRecord::right), true});
  return concat(
      "<div class=\"held\">", chart_figure(chart), "<div><p class=\"key\"><span><i class=\"k-right\"></i>right ",
      "image</span><span><i class=\"k-swapped\"></i>another sample's</span><span><i class=\"k-none\"></i>none",
      "</span></p>\n<p>", escape_html(sentence(validation_in_words(records.back()))), "</p></div></div>\n");
}

std::string summary_of(const MetricsRecord& last) {
  const auto cell = [](const char* name, const std::string& value) {
    return concat("<div><b>", value, "</b><small>", name, "</small></div>");
  };
  const auto percent = [](double share) { return short_number(std::round(1000 * share) / 10) + " %"; };
  std::string out =
      concat("<div class=\"now\">", cell("micro-batch", short_number(static_cast<double>(last.step))),
             cell("epoch", short_number(last.epoch)), cell("loss", short_number(last.loss)),
             cell("samples/s", short_number(last.samples_per_second)),
             cell("tokens/s", short_number(std::round(last.tokens_per_second))), cell("MFU", percent(last.mfu)),
             cell("waiting for data", percent(last.data_wait)), cell("reduction", percent(last.reduce_wait)),
             cell("peak memory", format_bytes(1e6 * last.memory_mb)));
  if (last.device_memory_mb) {
    out += cell("peak on the GPU", format_bytes(1e6 * *last.device_memory_mb));
  }
  return out + cell("time", format_duration(last.seconds)) + "</div>\n";
}

std::string section_of(const Section& section, const MetricsPage& page) {
  const std::vector<Curve> curves = {
      {"Loss", "cross-entropy per token", &MetricsRecord::loss},
      {"Learning rate", "learning rate", &MetricsRecord::learning_rate},
      {"Gradient norm, before clipping", "norm", &MetricsRecord::grad_norm},
      {"Speed", "samples per second", &MetricsRecord::samples_per_second},
  };
  const std::vector<MetricsRecord> records = of_section(page.records, section);
  std::string out =
      concat("<h2>", escape_html(section.stage + (section.model.empty() ? "" : ", " + section.model)), "</h2>\n",
             summary_of(records.back()), validation_part(of_section(page.validations, section)),
             "<p class=\"key\"><span><i class=\"k-raw\"></i>raw</span><span><i class=\"k-smooth\"></i>",
             "smoothed</span></p>\n<div class=\"charts\">\n");
  for (const Curve& curve : curves) {
    out += chart_of(records, curve);
  }
  return out + "</div>\n";
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

std::string metrics_page(const MetricsPage& page) {
  const std::string title = escape_html(page.title);
  std::string out = concat("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" ",
                           "content=\"width=device-width,initial-scale=1\">",
                           page.live ? "<meta http-equiv=\"refresh\" content=\"15\">" : "", "<title>", title,
                           "</title><style>", kStyle, "</style></head><body>\n<h1>", title, "</h1>\n");
  std::vector<Section> sections;
  for (const MetricsRecord& record : page.records) {
    const Section section{record.model, record.stage};
    if (std::find(sections.begin(), sections.end(), section) == sections.end()) {
      sections.push_back(section);
    }
  }
  for (const Section& section : sections) {
    out += section_of(section, page);
  }
  return out + "</body></html>\n";
}

}  // namespace minimind
