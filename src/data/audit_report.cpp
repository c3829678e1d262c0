#include <algorithm>
#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>
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
  const char* words;
};
constexpr std::array<KindText, kAuditKinds> kKinds = {{
    {"wrong_shape", "wrong JSON shape"},
    {"missing_picture", "missing image"},
    {"corrupt_picture", "corrupt image"},
    {"marks_against_pictures", "image placeholders against images"},
    {"slot_cut", "image span cut by max_seq_len"},
    {"no_turn", "no question with an answer"},
    {"no_marker", "start of the answer cut by max_seq_len"},
    {"nothing_supervised", "no supervised token"},
    {"bad_sample", "cannot be encoded"},
    {"duplicate_id", "id used before (not skipped)"},
}};

template <class... Values>
std::string format_text(const char* format, Values... values) {
  char text[512];
  std::snprintf(text, sizeof(text), format, values...);
  return text;
}

double percent(double share) {
  return 100.0 * share;
}

double ratio(int64_t part, int64_t whole) {
  return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
}

long long wide(int64_t value) {
  return static_cast<long long>(value);
}

std::string findings_text(const AuditReport& report) {
  std::string text;
  for (int number = 0; number < kAuditKinds; ++number) {
    const auto kind = static_cast<AuditKind>(number);
    if (report.count(kind) == 0) {
      continue;
    }
    text += format_text("  %-40s %lld\n", kKinds[static_cast<size_t>(number)].words, wide(report.count(kind)));
    int64_t shown = 0;
    for (const auto& finding : report.findings) {
      if (finding.kind != kind) {
        continue;
      }
      if (shown++ == kShownFindings) {
        text += concat("    … and ", report.count(kind) - kShownFindings, " more (all in the JSON report)\n");
        break;
      }
      text += concat("    ",
                     printable(concat("'", finding.id, "' (position ", finding.position, "): ", finding.detail)), "\n");
    }
  }
  return text;
}

std::string histogram_text(const AuditReport& report) {
  int64_t most = 1;
  for (const auto& bin : report.histogram) {
    most = std::max(most, bin.count);
  }
  std::string text;
  for (const auto& bin : report.histogram) {
    const int64_t width = (bin.count * kBarWidth + most - 1) / most;
    text += format_text("  %5lld-%-5lld %9lld ", wide(bin.from), wide(bin.to), wide(bin.count));
    text += std::string(static_cast<size_t>(width), '#') + "\n";
  }
  return text;
}

}  // namespace

const char* audit_kind_name(AuditKind kind) {
  return kKinds[static_cast<size_t>(kind)].key;
}

std::string AuditReport::summary() const {
  std::string text = concat("data ", data, ", images from ", image_source, "\n");
  text += format_text("%lld samples, %lld usable (%.2f %%), %lld images, %s\n", wide(samples), wide(usable),
                      percent(ratio(usable, samples)), wide(images), format_duration(seconds).c_str());
  text += findings.empty() ? std::string("no problem found\n") : "findings:\n" + findings_text(*this);
  text += format_text("length in tokens: median %lld, mean %.1f, longest %lld; %lld truncated to %lld\n",
                      wide(median_length), mean_length, wide(longest), wide(truncated), wide(max_seq_len));
  text += histogram_text(*this);
  text += format_text("supervised: %lld of %lld tokens (%.1f %%)\n", wide(supervised_tokens), wide(tokens),
                      percent(ratio(supervised_tokens, tokens)));
  text += format_text("padding: %.1f %% of all positions (%.1f %% in unsorted batches, %.1f %% if padded to %lld)\n",
                      percent(padding_share), percent(padding_share_unsorted), percent(padding_share_full),
                      wide(max_seq_len - 1));
  return text;
}

std::string AuditReport::json() const {
  using Json = nlohmann::ordered_json;
  Json report = {{"data", data},
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
    report["findings"][kKinds[static_cast<size_t>(number)].key] = Json::array();
  }
  for (const auto& finding : findings) {
    report["findings"][audit_kind_name(finding.kind)].push_back(
        {{"id", finding.id}, {"position", finding.position}, {"detail", finding.detail}});
  }
  // File names may be any bytes.
  return report.dump(2, ' ', false, Json::error_handler_t::replace);
}

}  // namespace minimind
