#include "eval/report_page.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "base/html.h"
#include "base/text.h"
#include "minimind/base/error.h"

namespace minimind {

namespace {

std::string rounded(double value, int digits) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

std::string speed_lines(const ReportColumn& column) {
  std::string out;
  if (column.decode_seconds > 0 && column.tokens > 0) {
    const double speed = static_cast<double>(column.tokens) / column.decode_seconds;
    out += concat("<b>", rounded(speed, speed < 100 ? 1 : 0), " tokens/s</b><br>");
  }
  out += concat(rounded(column.seconds, 2), " s for ", column.answers, column.answers == 1 ? " answer" : " answers",
                "<br>loaded in ", rounded(column.load_seconds, 2), " s");
  if (!column.scores.empty()) {
    out += "<br>" + escape_html(column.scores);
  }
  return out;
}

std::string head_row(const Report& report, size_t image_columns) {
  std::string out = "<thead><tr>";
  for (size_t i = 0; i < image_columns; ++i) {
    out += concat("<th scope=\"col\" class=\"p\">image", image_columns > 1 ? concat(" ", i + 1) : "", "</th>");
  }
  const std::vector<std::string> titles = column_titles(report.columns);
  for (size_t i = 0; i < titles.size(); ++i) {
    out += concat("<th scope=\"col\" title=\"", escape_html(report.columns[i].checkpoint), "\">",
                  escape_html(titles[i]), "<small>", speed_lines(report.columns[i]), "</small></th>");
  }
  return out + "</tr></thead>\n";
}

std::string image_cell(const ReportImage& image) {
  const std::string name = escape_html(image.name);
  return concat("<td class=\"p\">",
                image.jpeg.empty()
                    ? "<i>no image</i>"
                    : concat("<img alt=\"", name, "\" src=\"", data_url("image/jpeg", image.jpeg), "\">"),
                "<small>", name, "</small></td>");
}

std::string answer_cell(const ReportAnswer& answer) {
  if (!answer.problem.empty()) {
    return concat("<td class=\"problem\">", escape_html(answer.problem), "</td>");
  }
  const std::string text(
      strip(answer.text));  // a model that cannot end writes empty lines, which would fill the screen
  return concat("<td>", text.empty() ? "<i>no answer</i>" : escape_html(text), "</td>");
}

std::string body_row(const ReportRow& row, size_t image_columns, size_t columns) {
  std::string out = "<tr>";
  for (const ReportImage& image : row.images) {
    out += image_cell(image);
  }
  for (size_t i = row.images.size(); i < image_columns; ++i) {
    out += "<td class=\"p\"></td>";
  }
  if (!row.problem.empty()) {
    return concat(out, "<td class=\"problem\" colspan=\"", columns, "\">", escape_html(row.problem), "</td></tr>\n");
  }
  for (const ReportAnswer& answer : row.answers) {
    out += answer_cell(answer);
  }
  return out + "</tr>\n";
}

constexpr const char* kReportStyle =
    R"(:root{--ink:#1f2328;--dim:#5c6570;--paper:#fff;--line:#d8dde3;--head:#f4f6f8;--bad:#b3261e}
@media(prefers-color-scheme:dark){:root{--ink:#e6e8ea;--dim:#9aa3ad;--paper:#16181b;--line:#343a41;--head:#20242a;--bad:#ff8a80}}
*{box-sizing:border-box}body{font:15px/1.5 system-ui,"Noto Sans CJK SC","Microsoft YaHei",sans-serif;margin:0;padding:1.5em;color:var(--ink);background:var(--paper)}
h1{font-size:1.35em;margin:0 0 .5em}p{margin:.2em 0;white-space:pre-wrap}p.dim{color:var(--dim)}
table{border-collapse:separate;border-spacing:0;margin-top:1.2em;border-top:1px solid var(--line);border-left:1px solid var(--line)}
th,td{border-right:1px solid var(--line);border-bottom:1px solid var(--line);padding:.6em .8em;vertical-align:top;text-align:left}
th{background:var(--head);position:sticky;top:0;z-index:1;overflow-wrap:anywhere}th small{display:block;font-weight:400;color:var(--dim);margin-top:.2em}
td{min-width:13em;max-width:28em;white-space:pre-wrap;overflow-wrap:anywhere}.p{min-width:0;width:216px;text-align:center;white-space:normal}
.p img{display:block;margin:0 auto;max-width:200px;max-height:200px;min-width:96px;border-radius:4px}.p small{color:var(--dim);font-size:.8em}
i{color:var(--dim)}td.q{max-width:none;background:var(--head)}.problem{color:var(--bad)}
@media(max-width:600px){body{padding:.8em}.p{width:120px}.p img{max-width:104px}td{min-width:10em}})";

}  // namespace

std::vector<std::string> column_titles(const std::vector<ReportColumn>& columns) {
  std::vector<std::string> titles;
  for (const ReportColumn& column : columns) {
    std::filesystem::path path = std::filesystem::path(column.checkpoint).lexically_normal();
    if (!path.has_filename()) {
      path = path.parent_path();
    }
    const std::string ending = path.extension().string();
    const bool is_weights = ending == ".pth" || ending == ".safetensors" || ending == ".bin";
    titles.push_back((is_weights ? path.stem() : path.filename()).string());
  }
  std::vector<std::string> unique = titles;
  for (size_t i = 0; i < titles.size(); ++i) {
    if (std::ranges::count(titles, titles[i]) > 1) {
      unique[i] = columns[i].checkpoint;
    }
  }
  return unique;
}

std::string report_page(const Report& report) {
  size_t image_columns = 1;
  for (const ReportRow& row : report.rows) {
    image_columns = std::max(image_columns, row.images.size());
  }
  const bool one_question = std::ranges::all_of(
      report.rows, [&](const ReportRow& row) { return row.question == report.rows.front().question; });
  const std::string head = report.rows.empty() ? ""
                           : one_question      ? report.rows.front().question
                                               : "The question stands above each row.";
  std::string out =
      concat("<!doctype html>\n<html><head><meta charset=\"utf-8\"><meta name=\"viewport\" ",
             "content=\"width=device-width,initial-scale=1\"><title>MiniMind-V: images and answers</title><style>",
             kReportStyle, "</style></head><body>\n<h1>Images and answers</h1>\n<p>", escape_html(head),
             "</p>\n<p class=\"dim\">", escape_html(report.settings), "</p>\n<table>\n",
             head_row(report, image_columns), "<tbody>\n");
  for (const ReportRow& row : report.rows) {
    if (!one_question) {
      out += concat("<tr><td class=\"q\" colspan=\"", image_columns + report.columns.size(), "\">",
                    escape_html(row.question), "</td></tr>\n");
    }
    out += body_row(row, image_columns, report.columns.size());
  }
  return out + "</tbody></table>\n</body></html>\n";
}

}  // namespace minimind
