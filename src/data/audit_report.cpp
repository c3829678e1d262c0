#include <algorithm>
#include <array>
#include <iomanip>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "base/progress.h"
#include "base/utf8.h"
#include "data/audit.h"
#include "minimind/base/error.h"

namespace minimind {

namespace {

constexpr int64_t kShownFindings = 5;
constexpr int64_t kBarWidth = 40;

struct KindText {
  const char* key;
  const char* text;
};
constexpr std::array<KindText, kAuditKinds> kKinds = {{
    {"wrong_shape", "wrong JSON shape"},
    {"missing_picture", "missing image"},
    {"corrupt_picture", "corrupt image"},
    {"marks_against_pictures", "image placeholders do not match the images"},
    {"slot_cut", "image span truncated by max_seq_len"},
    {"no_turn", "no question with an answer"},
    {"no_marker", "answer start truncated by max_seq_len"},
    {"nothing_supervised", "no supervised token"},
    {"bad_sample", "cannot be encoded"},
    {"duplicate_id", "id used before (not skipped)"},
}};

double percent(int64_t part, int64_t whole) {
  return whole == 0 ? 0.0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole);
}

void write_findings(const AuditReport& report, std::ostream& out) {
  for (int number = 0; number < kAuditKinds; ++number) {
    const auto kind = static_cast<AuditKind>(number);
    const int64_t count = report.count(kind);
    if (count == 0) {
      continue;
    }
    out << "  " << std::left << std::setw(40) << kKinds[static_cast<size_t>(number)].text << ' ' << count << '\n';
    int64_t shown = 0;
    for (const auto& finding : report.findings) {
      if (finding.kind == kind && shown++ < kShownFindings) {
        out << "    " << printable(concat("'", finding.id, "' (position ", finding.position, "): ", finding.detail))
            << '\n';
      }
    }
    if (count > kShownFindings) {
      out << "    … and " << count - kShownFindings << " more (all of them in the JSON report)\n";
    }
  }
}

void write_histogram(const AuditReport& report, std::ostream& out) {
  int64_t most = 1;
  for (const auto& bin : report.histogram) {
    most = std::max(most, bin.count);
  }
  for (const auto& bin : report.histogram) {
    const int64_t width = (bin.count * kBarWidth + most - 1) / most;
    out << "  " << std::right << std::setw(5) << bin.from << '-' << std::left << std::setw(5) << bin.to << ' '
        << std::right << std::setw(9) << bin.count << ' ' << std::string(static_cast<size_t>(width), '#') << '\n';
  }
}

}  // namespace

const char* audit_kind_name(AuditKind kind) {
  return kKinds[static_cast<size_t>(kind)].key;
}

std::string AuditReport::summary() const {
  std::ostringstream out;
  out << "data " << data << ", images from " << image_source << '\n' << std::fixed << std::setprecision(2);
  out << samples << " samples, " << usable << " usable (" << percent(usable, samples) << " %), " << images
      << " images, " << format_duration(seconds) << '\n'
      << std::setprecision(1);
  out << (findings.empty() ? "no problem found\n" : "findings:\n");
  write_findings(*this, out);
  out << "length in tokens: median " << median_length << ", mean " << mean_length << ", longest " << longest << "; "
      << truncated << " truncated to " << max_seq_len << '\n';
  write_histogram(*this, out);
  out << "supervised: " << supervised_tokens << " of " << tokens << " tokens (" << percent(supervised_tokens, tokens)
      << " %)\n";
  out << "padding: " << 100 * padding_share << " % of all positions (" << 100 * padding_share_unsorted
      << " % in unsorted batches, " << 100 * padding_share_full << " % if padded to " << max_seq_len - 1 << ")\n";
  return out.str();
}

std::string AuditReport::json() const {
  using OrderedJson = nlohmann::ordered_json;
  OrderedJson report = {{"data", data},
                        {"images", image_source},
                        {"samples", samples},
                        {"usable", usable},
                        {"pictures", images},
                        {"max_seq_len", max_seq_len},
                        {"seconds", seconds},
                        {"tokens", tokens},
                        {"supervised_tokens", supervised_tokens},
                        {"truncated", truncated},
                        {"longest", longest},
                        {"mean_length", mean_length},
                        {"median_length", median_length}};
  report["padding_share"] = padding_share;
  report["padding_share_unsorted"] = padding_share_unsorted;
  report["padding_share_full"] = padding_share_full;
  for (const auto& bin : histogram) {
    report["length_histogram"].push_back({{"from", bin.from}, {"to", bin.to}, {"count", bin.count}});
  }
  for (int number = 0; number < kAuditKinds; ++number) {
    report["counts"][kKinds[static_cast<size_t>(number)].key] = counts[static_cast<size_t>(number)];
    report["findings"][kKinds[static_cast<size_t>(number)].key] = OrderedJson::array();
  }
  for (const auto& finding : findings) {
    report["findings"][audit_kind_name(finding.kind)].push_back(
        {{"id", finding.id}, {"position", finding.position}, {"detail", finding.detail}});
  }
  // File names may hold invalid UTF-8.
  return report.dump(2, ' ', false, OrderedJson::error_handler_t::replace);
}

}  // namespace minimind
