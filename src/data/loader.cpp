#include "minimind/data/loader.h"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <numeric>
#include <set>
#include <span>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <utility>

#include "base/machine_limits.h"
#include "base/stopwatch.h"
#include "base/utf8.h"
#include "data/batch_builder.h"
#include "minimind/base/error.h"
#include "minimind/base/log.h"

namespace minimind {

namespace {

// Further skipped samples are counted, not logged.
constexpr size_t kLoggedSkips = 20;
// If this many samples are skipped before the first good one, the paths are wrong, not the samples.
constexpr size_t kHopelessSkips = 1000;

void check_options(const LoaderInput& input, const LoaderOptions& options) {
  require(options.batch_size > 0, "batch_size: expected at least 1, found ", options.batch_size);
  require(options.num_workers >= 0 && options.num_workers <= most_threads(), "num_workers: expected 0 to ",
          most_threads(), ", found ", options.num_workers);
  require(options.max_seq_len > 1, "max_seq_len: expected at least 2, found ", options.max_seq_len);
  require(options.prefetch >= 0, "prefetch: expected at least 0, found ", options.prefetch);
  if (options.world_size < 1 || options.rank < 0 || options.rank >= options.world_size || options.image_size < 1 ||
      options.length_multiple < 1) {
    throw std::logic_error(concat("Loader: rank ", options.rank, " of ", options.world_size, ", image size ",
                                  options.image_size, ", length multiple ", options.length_multiple));
  }
  require(input.cache == nullptr || input.cache->tokens() == std::ssize(input.pattern.ids),
          "feature cache: expected rows of ", input.pattern.ids.size(), " tokens, like the image pattern");
}

int64_t divide_up(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

}  // namespace

struct Loader::State {
  State(const LoaderInput& loader_input, const LoaderOptions& loader_options);
  ~State() { stop_workers(); }

  /// What a worker hands over for one micro-step.
  struct Result {
    Batch batch;
    std::vector<std::pair<int64_t, SkippedSample>> skipped;  ///< with the position in the data set
    std::exception_ptr error;
  };

  void start_workers();
  void stop_workers();
  void work();
  Result load(int64_t step);
  Result load_batch(std::span<const uint32_t> indices);
  Result wait_for(int64_t step);
  void record_skipped(const Result& result);

  LoaderInput input;
  LoaderOptions options;
  SampleEncoding encoding;
  detail::ImageInput images;
  std::vector<uint32_t> lengths;

  std::vector<uint32_t> order;
  int64_t first_micro_batch = 0;
  int64_t steps = 0;

  std::vector<std::thread> threads;
  std::mutex mutex;
  std::condition_variable may_load;
  std::condition_variable finished_one;
  std::map<int64_t, Result> finished;
  int64_t to_load = 0;
  int64_t to_hand_out = 0;
  bool stopping = false;

  mutable std::mutex report_mutex;
  std::vector<SkippedSample> skipped;
  std::set<int64_t> skipped_indices;
  int64_t samples_handed_out = 0;
  double waited_seconds = 0;
};

Loader::State::State(const LoaderInput& loader_input, const LoaderOptions& loader_options)
    : input(loader_input),
      options(loader_options),
      encoding{input.tokenizer, input.pattern, options.max_seq_len, options.supervision},
      images{.source = input.images,
             .prefix = options.image_prefix(input.kind),
             .image_size = options.image_size,
             .cache = input.cache,
             .pinned = options.pinned,
             .length_multiple = options.length_multiple,
             .known_hashes = {}},
      lengths(estimate_lengths(input, options.max_seq_len)) {
  if (input.cache != nullptr) {
    images.known_hashes.resize(lengths.size());
  }
}

void Loader::State::stop_workers() {
  {
    const std::lock_guard guard(mutex);
    stopping = true;
  }
  may_load.notify_all();
  for (auto& thread : threads) {
    thread.join();
  }
  threads.clear();
  finished.clear();
  stopping = false;
}

void Loader::State::start_workers() {
  const int64_t count = std::min(options.num_workers, steps);
  try {
    for (int64_t i = 0; i < count; ++i) {
      threads.emplace_back([this] { work(); });
    }
  } catch (const std::system_error& error) {
    fail("num_workers: expected ", count, " threads, found a limit of ", threads.size(), " (", error.code().message(),
         "); lower --num_workers");
  }
}

void Loader::State::work() {
  std::unique_lock lock(mutex);
  while (true) {
    may_load.wait(lock, [&] {
      return stopping || to_load == steps || to_load < to_hand_out + options.prefetch + options.num_workers;
    });
    if (stopping || to_load == steps) {
      return;
    }
    const int64_t step = to_load++;
    lock.unlock();
    Result result = load(step);
    lock.lock();
    finished.emplace(step, std::move(result));
    finished_one.notify_all();
  }
}

Loader::State::Result Loader::State::load(int64_t step) {
  const int64_t size = std::ssize(order);
  const int64_t micro_batch = first_micro_batch + step * options.world_size + options.rank;
  const int64_t begin = std::min(size, micro_batch * options.batch_size);
  const int64_t end = std::min(size, begin + options.batch_size);
  try {
    return load_batch(std::span(order).subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin)));
  } catch (...) {
    Result result;
    result.error = std::current_exception();
    return result;
  }
}

Loader::State::Result Loader::State::load_batch(std::span<const uint32_t> indices) {
  Result result;
  int64_t image_count = 0;
  for (const uint32_t index : indices) {
    image_count += input.dataset.sample_size(index).images;
  }
  detail::BatchBuilder builder(images, image_count);
  for (const uint32_t index : indices) {
    try {
      const Sample sample = input.dataset.sample(index);
      EncodedSample encoded = encode_sample(sample, encoding);
      require(encoded.problem == SampleProblem::kNone, encoded.reason);
      builder.add(index, sample, std::move(encoded));
    } catch (const Error& error) {
      result.skipped.push_back({index, {std::string(input.dataset.id(index)), error.what()}});
    }
  }
  result.batch = builder.build();
  return result;
}

Loader::State::Result Loader::State::wait_for(int64_t step) {
  if (threads.empty()) {
    to_hand_out = step + 1;
    return load(step);
  }
  std::unique_lock lock(mutex);
  finished_one.wait(lock, [&] { return finished.contains(step); });
  Result result = std::move(finished.extract(step).mapped());
  to_hand_out = step + 1;
  may_load.notify_all();
  return result;
}

// Called in the order of the batches, so that the report does not depend on the number of threads.
void Loader::State::record_skipped(const Result& result) {
  const std::lock_guard guard(report_mutex);
  for (const auto& [index, sample] : result.skipped) {
    if (!skipped_indices.insert(index).second) {
      continue;
    }
    skipped.push_back(sample);
    if (skipped.size() <= kLoggedSkips) {
      log_warning(printable(concat("sample '", sample.id, "' skipped: ", sample.reason)));
    } else if (skipped.size() == kLoggedSkips + 1) {
      log_warning("more samples are skipped; the run counts them, and --check_data lists all of them");
    }
  }
  samples_handed_out += result.batch.samples();
  const bool whole_epoch = options.world_size == 1 && first_micro_batch == 0 && to_hand_out == steps;
  if (samples_handed_out == 0 && !skipped.empty() && (skipped.size() >= kHopelessSkips || whole_epoch)) {
    fail("no sample can be used: all ", skipped.size(), " so far were skipped; the first, '",
         printable(skipped.front().id), "': ", printable(skipped.front().reason), " (images come from ",
         input.images.description(), ")");
  }
}

Loader::Loader(const LoaderInput& input, const LoaderOptions& options) {
  check_options(input, options);
  state_ = std::make_unique<State>(input, options);
}

Loader::~Loader() = default;

int64_t Loader::micro_batches_per_epoch() const {
  return divide_up(std::ssize(state_->lengths), state_->options.batch_size);
}

int64_t Loader::micro_steps_per_epoch() const {
  return divide_up(micro_batches_per_epoch(), state_->options.world_size);
}

void Loader::start_epoch(int64_t epoch, int64_t first_micro_batch) {
  if (epoch < 0 || first_micro_batch < 0 || first_micro_batch > micro_steps_per_epoch() * state_->options.world_size) {
    throw std::logic_error(concat("Loader::start_epoch: epoch ", epoch, ", micro-batch ", first_micro_batch));
  }
  State& state = *state_;
  state.stop_workers();
  const LoaderOptions& options = state.options;
  state.order = epoch_order(state.lengths, options, epoch);
  state.first_micro_batch = first_micro_batch;
  state.steps = divide_up(std::max<int64_t>(micro_batches_per_epoch() - first_micro_batch, 0), options.world_size);
  state.to_load = 0;
  state.to_hand_out = 0;
  state.start_workers();
}

std::optional<Batch> Loader::next() {
  State& state = *state_;
  const int64_t step = state.to_hand_out;
  if (step >= state.steps) {
    return std::nullopt;
  }
  const Stopwatch stopwatch;
  State::Result result = state.wait_for(step);
  state.waited_seconds += stopwatch.seconds();
  if (result.error) {
    std::rethrow_exception(result.error);
  }
  state.record_skipped(result);
  return std::move(result.batch);
}

Batch Loader::longest(int64_t count) {
  State& state = *state_;
  if (!state.threads.empty()) {
    throw std::logic_error("Loader::longest: an epoch is under way");
  }
  std::vector<uint32_t> indices(state.lengths.size());
  std::iota(indices.begin(), indices.end(), 0U);
  const auto end = indices.begin() + std::min<int64_t>(count, std::ssize(indices));
  std::partial_sort(indices.begin(), end, indices.end(), [&](uint32_t a, uint32_t b) {
    return state.lengths[a] != state.lengths[b] ? state.lengths[a] > state.lengths[b] : a < b;
  });
  return state.load_batch(std::span(indices.begin(), end)).batch;
}

std::vector<SkippedSample> Loader::skipped() const {
  const std::lock_guard guard(state_->report_mutex);
  return state_->skipped;
}

double Loader::waited_seconds() const {
  return state_->waited_seconds;
}

}  // namespace minimind
