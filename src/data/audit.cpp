#include "data/audit.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <mutex>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/machine_limits.h"
#include "base/progress.h"
#include "base/stopwatch.h"
#include "image/exif.h"
#include "minimind/base/error.h"
#include "minimind/image/decode.h"

namespace minimind {

namespace {

constexpr int64_t kHistogramBins = 16;
// Samples that a thread takes at a time.
constexpr int64_t kChunk = 64;

struct SampleFacts {
  int32_t full_length = 0;
  int32_t supervised = 0;
  bool usable = false;
};

// One pass over the data set in several threads.
class AuditPass {
 public:
  AuditPass(const LoaderInput& input, const LoaderOptions& options)
      : input_(input),
        encoding_{input.tokenizer, input.pattern, options.max_seq_len, options.supervision},
        prefix_(options.image_prefix(input.kind)),
        facts_(static_cast<size_t>(input.dataset.size())) {}

  void run(int64_t threads);
  void find_duplicate_ids();
  /// Adds a finding to every sample that names a bad image.
  void find_bad_images();

  int64_t images() const { return std::ssize(seen_); }
  const std::vector<SampleFacts>& facts() const { return facts_; }
  std::vector<AuditFinding> take_findings() { return std::move(findings_); }

 private:
  struct BadImage {
    SampleProblem problem;
    std::string detail;
  };

  void work();
  void check_sample(int64_t index);
  void check_image(const std::string& name);
  void add_finding(SampleProblem problem, int64_t index, std::string detail);

  LoaderInput input_;
  SampleEncoding encoding_;
  std::string prefix_;
  std::vector<SampleFacts> facts_;
  std::atomic<int64_t> next_{0};
  std::atomic<int64_t> done_{0};
  std::mutex mutex_;
  std::exception_ptr error_;
  std::vector<AuditFinding> findings_;
  std::unordered_set<std::string> seen_;
  std::unordered_map<std::string, BadImage> bad_;
};

void AuditPass::add_finding(SampleProblem problem, int64_t index, std::string detail) {
  const std::lock_guard guard(mutex_);
  findings_.push_back({problem, index, std::string(input_.dataset.id(index)), std::move(detail)});
}

void AuditPass::check_image(const std::string& name) {
  {
    const std::lock_guard guard(mutex_);
    if (!seen_.insert(name).second) {
      return;
    }
  }
  BadImage bad{SampleProblem::kMissingImage, {}};
  try {
    const std::string found = find_image(input_.images, name, prefix_);
    bad.problem = SampleProblem::kCorruptImage;
    const std::string bytes = input_.images.read(found), label = image_label(name, found);
    decode_image(bytes, label);
    if (const std::string turned = turned_by_exif(bytes); !turned.empty()) {
      bad = {SampleProblem::kTurnedImage, concat(label, ": ", turned)};
    } else {
      return;
    }
  } catch (const Error& error) {
    bad.detail = error.what();
  }
  const std::lock_guard guard(mutex_);
  bad_.emplace(name, std::move(bad));
}

void AuditPass::check_sample(int64_t index) {
  const Sample sample = input_.dataset.sample(index);
  SampleFacts& facts = facts_[static_cast<size_t>(index)];
  try {
    const EncodedSample encoded = encode_sample(sample, encoding_);
    facts.full_length = static_cast<int32_t>(encoded.full_length);
    facts.supervised = static_cast<int32_t>(encoded.supervised);
    facts.usable = encoded.problem == SampleProblem::kNone;
    if (!facts.usable) {
      add_finding(encoded.problem, index, encoded.reason);
    }
  } catch (const Error& error) {
    add_finding(SampleProblem::kNotEncoded, index, error.what());
  }
  if (!sample.note.empty()) {
    add_finding(SampleProblem::kRolesOutOfOrder, index, sample.note);
  }
  for (const auto& name : sample.images) {
    check_image(name);
  }
}

void AuditPass::work() {
  const int64_t size = input_.dataset.size();
  try {
    for (int64_t begin = next_.fetch_add(kChunk); begin < size; begin = next_.fetch_add(kChunk)) {
      const int64_t end = std::min(begin + kChunk, size);
      for (int64_t index = begin; index < end; ++index) {
        check_sample(index);
      }
      done_.fetch_add(end - begin);
    }
  } catch (...) {
    const std::lock_guard guard(mutex_);
    error_ = std::current_exception();
    next_ = size;
  }
}

void AuditPass::run(int64_t threads) {
  Progress progress("checking the data", "samples", input_.dataset.size());
  std::atomic<int64_t> running{threads};
  std::vector<std::jthread> workers;
  for (int64_t i = 0; i < threads; ++i) {
    workers.emplace_back([&] {
      work();
      --running;
    });
  }
  while (running > 0) {
    progress.update(done_);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  workers.clear();
  if (error_) {
    std::rethrow_exception(error_);
  }
}

void AuditPass::find_bad_images() {
  if (bad_.empty()) {
    return;
  }
  for (int64_t index = 0; index < input_.dataset.size(); ++index) {
    for (const auto& name : input_.dataset.sample(index).images) {
      const auto found = bad_.find(name);
      if (found != bad_.end()) {
        SampleFacts& facts = facts_[static_cast<size_t>(index)];
        facts.usable = facts.usable && found->second.problem == SampleProblem::kTurnedImage;
        add_finding(found->second.problem, index, found->second.detail);
      }
    }
  }
}

void AuditPass::find_duplicate_ids() {
  std::unordered_map<std::string_view, int64_t> first;
  first.reserve(static_cast<size_t>(input_.dataset.size()));
  for (int64_t index = 0; index < input_.dataset.size(); ++index) {
    const auto [place, is_new] = first.emplace(input_.dataset.id(index), index);
    if (!is_new) {
      add_finding(SampleProblem::kDuplicateId, index, concat("position ", place->second, " has the same id"));
    }
  }
}

// The share of padding in an epoch's batches. Unusable samples are skipped, as in the loader.
double padding_of(const std::vector<uint32_t>& order, const std::vector<SampleFacts>& facts,
                  const LoaderOptions& options) {
  int64_t positions = 0;
  int64_t real = 0;
  const auto batch_size = static_cast<size_t>(options.batch_size);
  for (size_t begin = 0; begin < order.size(); begin += batch_size) {
    int64_t longest = 0;
    int64_t samples = 0;
    for (size_t i = begin; i < std::min(begin + batch_size, order.size()); ++i) {
      if (facts[order[i]].usable) {
        const int64_t length = std::min<int64_t>(facts[order[i]].full_length, options.max_seq_len) - 1;
        longest = std::max(longest, length);
        real += length;
        ++samples;
      }
    }
    positions += longest * samples;
  }
  return positions == 0 ? 0.0 : 1.0 - static_cast<double>(real) / static_cast<double>(positions);
}

void measure_lengths(const std::vector<SampleFacts>& facts, AuditReport& report) {
  const int64_t bin = (report.max_seq_len + kHistogramBins - 1) / kHistogramBins;
  for (int64_t i = 0; i < kHistogramBins; ++i) {
    report.histogram.push_back({i * bin + 1, std::min((i + 1) * bin, report.max_seq_len), 0});
  }
  std::vector<int64_t> lengths;
  for (const auto& sample : facts) {
    if (sample.usable) {
      lengths.push_back(sample.full_length);
      report.supervised_tokens += sample.supervised;
      report.tokens += std::min<int64_t>(sample.full_length, report.max_seq_len) - 1;
      report.truncated += sample.full_length > report.max_seq_len ? 1 : 0;
      report.mean_length += static_cast<double>(sample.full_length);
      if (sample.full_length <= report.max_seq_len) {
        ++report.histogram[static_cast<size_t>((sample.full_length - 1) / bin)].count;
      }
    }
  }
  report.usable = std::ssize(lengths);
  if (lengths.empty()) {
    return;
  }
  report.longest = *std::max_element(lengths.begin(), lengths.end());
  report.mean_length /= static_cast<double>(lengths.size());
  const auto middle = lengths.begin() + std::ssize(lengths) / 2;
  std::nth_element(lengths.begin(), middle, lengths.end());
  report.median_length = *middle;
  if (report.truncated > 0) {
    report.histogram.push_back({report.max_seq_len + 1, report.longest, report.truncated});
  }
  std::erase_if(report.histogram, [](const HistogramBin& part) { return part.from > part.to; });
}

}  // namespace

AuditReport audit_data(const LoaderInput& input, const LoaderOptions& options, const std::string& data) {
  require(options.batch_size > 0, "batch_size: expected at least 1, found ", options.batch_size);
  require(options.max_seq_len > 1, "max_seq_len: expected at least 2, found ", options.max_seq_len);
  const Stopwatch stopwatch;
  AuditPass pass(input, options);
  pass.run(std::clamp<int64_t>(options.num_workers, 1, most_threads()));
  pass.find_bad_images();
  pass.find_duplicate_ids();
  AuditReport report;
  report.data = data;
  report.image_source = input.images.description();
  report.samples = input.dataset.size();
  report.images = pass.images();
  report.max_seq_len = options.max_seq_len;
  report.findings = pass.take_findings();
  std::stable_sort(report.findings.begin(), report.findings.end(), [](const AuditFinding& a, const AuditFinding& b) {
    return std::pair(a.problem, a.position) < std::pair(b.problem, b.position);
  });
  for (const auto& finding : report.findings) {
    ++report.counts[static_cast<size_t>(finding.problem)];
  }
  measure_lengths(pass.facts(), report);
  const std::vector<uint32_t> estimates = estimate_lengths(input, options.max_seq_len);
  const auto padding = [&](bool by_length) {
    LoaderOptions ordered = options;
    ordered.block_size = options.batch_size;
    ordered.bucket_by_length = by_length;
    return padding_of(epoch_order(estimates, ordered, 0), pass.facts(), options);
  };
  report.padding_share = padding(options.bucket_by_length);
  report.padding_share_unsorted = padding(false);
  const int64_t full = report.usable * (options.max_seq_len - 1);
  report.padding_share_full = full == 0 ? 0.0 : 1.0 - static_cast<double>(report.tokens) / static_cast<double>(full);
  report.seconds = stopwatch.seconds();
  return report;
}

}  // namespace minimind
