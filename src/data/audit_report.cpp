#include <algorithm>
#include <array>
#include <iomanip>
#include <sstream>
#include <string>

#include "base/json.h"
#include "base/progress.h"
#include "base/utf8.h"
#include "data/audit.h"
#include "minimind/base/error.h"

namespace minimind {

namespace {

constexpr int64_t kShownFindings = 5;
constexpr int64_t kBarWidth = 40;

struct ProblemText {
  const char* key;
  const char* text;
};
/// By SampleProblem.
constexpr std::array<ProblemText, kSampleProblems> kProblems = {{
    {"none", "no problem"},
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
    {"roles_out_of_order", "message left out by its role (not skipped)"},
    {"turned_picture", "photo read as stored, unturned (not skipped)"},
}};

double percent(int64_t part, int64_t whole) {
  return whole == 0 ? 0.0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole);
}

void write_findings(const AuditReport& report, std::ostream& out) {
  for (size_t problem = 1; problem < kProblems.size(); ++problem) {
    const int64_t count = report.counts[problem];
    if (count == 0) {
      continue;
    }
    out << "  " << std::left << std::setw(40) << kProblems[problem].text << ' ' << count << '\n';
    int64_t shown = 0;
    for (const auto& finding : report.findings) {
      if (static_cast<size_t>(finding.problem) == problem && shown++ < kShownFindings) {
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

const char* problem_name(SampleProblem problem) {
  return kProblems[static_cast<size_t>(problem)].key;
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
  for (size_t problem = 1; problem < kProblems.size(); ++problem) {
    report["counts"][kProblems[problem].key] = counts[problem];
    report["findings"][kProblems[problem].key] = OrderedJson::array();
  }
  for (const auto& finding : findings) {
    report["findings"][problem_name(finding.problem)].push_back(
        {{"id", finding.id}, {"position", finding.position}, {"detail", finding.detail}});
  }
  // File names may hold invalid UTF-8.
  return report.dump(2, ' ', false, OrderedJson::error_handler_t::replace);
}

}  // namespace minimind
