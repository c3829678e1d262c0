// One side of the chat benchmark: loads what the flags name, then answers a line of standard input with a line of JSON
// on standard output, so that ours and a peer can be asked in turn while both stay loaded.
//   decode TOKENS   after `prepare`: {"tokens_per_second", "prefill_seconds"}; the prompt is random embeddings
//   encode FILE     an image file to vision tokens: {"seconds"}
//   sum             a plain sum over as many bytes as the decoder's weights: {"bytes_per_second"}
// usage: chat_bench decode CHECKPOINT WEIGHTS THREADS PROMPT_TOKENS
//        chat_bench encode CHECKPOINT WEIGHTS THREADS CLIP_DIR TOKENIZER
//        chat_bench loss CHECKPOINT WEIGHTS THREADS CLIP_DIR TOKENIZER DATA IMAGES   (one line of JSON, no input)

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "base/cpu_watch.h"
#include "infer/make_decoder.h"
#include "minimind/base/error.h"
#include "minimind/chat/chat_model.h"
#include "minimind/chat/session.h"
#include "minimind/data/dataset.h"
#include "minimind/data/image_source.h"
#include "minimind/image/decode.h"
#include "minimind/model/weights.h"

namespace {

using namespace minimind;
using BenchClock = std::chrono::steady_clock;

double seconds_since(BenchClock::time_point start) {
  return std::chrono::duration<double>(BenchClock::now() - start).count();
}

/// The float32 weights that a decoding step reads: all but the projection of the images.
int64_t decoder_weights(const Vlm& model) {
  int64_t count = 0;
  for (const auto& named : model->named_parameters()) {
    if (!named.key().starts_with("vision_proj")) {
      count += named.value().numel();
    }
  }
  return count;
}

int64_t bytes_per_weight(WeightFormat format) {
  return format == WeightFormat::kFloat32 ? 4 : format == WeightFormat::kBFloat16 ? 2 : 1;
}

/// Adds up the buffer as whole numbers, which compilers turn into plain wide loads and additions.
__attribute__((target_clones("avx2", "default"))) uint64_t sum_words(const uint64_t* words, int64_t count) {
  uint64_t sum = 0;
  for (int64_t i = 0; i < count; ++i) {
    sum += words[i];
  }
  return sum;
}

/// Ones in large pages, as the decoder's weights lie in them.
at::Tensor buffer_of_ones(int64_t words) {
  at::Tensor buffer = at::empty({words}, at::kLong);
  constexpr uintptr_t kLargePage = uintptr_t{2} << 20;
  const auto address = reinterpret_cast<uintptr_t>(buffer.data_ptr());
  const uintptr_t start = (address + kLargePage - 1) / kLargePage * kLargePage;
  const uintptr_t end = (address + buffer.nbytes()) / kLargePage * kLargePage;
  if (start < end) {
    ::madvise(reinterpret_cast<void*>(start), end - start, MADV_HUGEPAGE);
  }
  return buffer.fill_(1);
}

double sum_rate(const at::Tensor& buffer) {
  const int64_t words = buffer.numel();
  const auto* data = reinterpret_cast<const uint64_t*>(buffer.const_data_ptr<int64_t>());
  std::vector<uint64_t> sums(static_cast<size_t>(at::get_num_threads()) * 8, 0);
  std::vector<double> times;
  for (int turn = 0; turn < 9; ++turn) {
    const auto start = BenchClock::now();
    at::parallel_for(0, words, 4096, [&](int64_t begin, int64_t end) {
      sums[static_cast<size_t>(at::get_thread_num()) * 8] += sum_words(data + begin, end - begin);
    });
    times.push_back(seconds_since(start));
  }
  std::nth_element(times.begin(), times.begin() + 4, times.end());
  require(sums[0] != 1, "the sum of a buffer of ones");
  return 8.0 * static_cast<double>(words) / times[4];
}

void serve_decode(const std::string& checkpoint, WeightFormat format, int64_t prompt_tokens) {
  const ModelFile file = find_model(checkpoint);
  Vlm model(file.config);
  load_vlm(*model, file.state, checkpoint, {true, {"vision_proj."}});
  model->eval();
  const auto decoder = make_decoder(model, 1024, DecoderKind::kAuto, format);
  const SequenceId sequence = decoder->open();
  const at::Tensor prompt = at::randn({prompt_tokens, file.config.dim}) * 0.02;
  const int64_t bytes = decoder_weights(model) * bytes_per_weight(format);
  const at::Tensor buffer = buffer_of_ones(bytes / 8);
  std::cout << "{\"ready\": true, \"weight_bytes\": " << bytes << "}" << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string what;
    int64_t tokens = 0;
    words >> what >> tokens;
    if (what == "sum") {
      std::cout << "{\"bytes_per_second\": " << sum_rate(buffer) << "}" << std::endl;
      continue;
    }
    auto start = BenchClock::now();
    decoder->truncate(sequence, 0);
    decoder->prefill(sequence, prompt);
    const double prefill = seconds_since(start);
    start = BenchClock::now();
    for (int64_t i = 0; i < tokens; ++i) {
      const auto id = static_cast<TokenId>(3 + i % 97);
      decoder->step({&sequence, 1}, {&id, 1});
    }
    std::cout << "{\"tokens_per_second\": " << static_cast<double>(tokens) / seconds_since(start)
              << ", \"prefill_seconds\": " << prefill << "}" << std::endl;
  }
}

std::unique_ptr<ChatModel> load_chat(char** parts, const char* weights, int64_t threads) {
  ChatModelFiles files;
  files.checkpoint = parts[0];
  files.clip_dir = parts[1];
  files.tokenizer = parts[2];
  files.allow_missing = {"vision_proj."};
  files.threads = threads;
  files.cached_images = 0;
  files.weights = weights;
  return ChatModel::load(files);
}

void serve_encode(ChatModel& model) {
  std::cout << "{\"ready\": true}" << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    const std::string path = line.substr(line.find(' ') + 1);
    const auto start = BenchClock::now();
    model.features(load_image(path));
    std::cout << "{\"seconds\": " << seconds_since(start) << "}" << std::endl;
  }
}

double surprise(std::span<const float> logits, TokenId id) {
  double highest = -1e30, sum = 0;
  for (const float logit : logits) {
    highest = std::max(highest, static_cast<double>(logit));
  }
  for (const float logit : logits) {
    sum += std::exp(static_cast<double>(logit) - highest);
  }
  return highest + std::log(sum) - static_cast<double>(logits[static_cast<size_t>(id)]);
}

/// Mean cross-entropy of the true answers, token by token through the decoder.
double answers_loss(ChatModel& model, WeightFormat format, const std::string& data, const std::string& images) {
  const auto source = open_image_source(images);
  const Dataset dataset = Dataset::load(data, DataKind::kInstruction);
  const auto decoder = make_decoder(model.model(), 1024, DecoderKind::kAuto, format);
  const SequenceId sequence = decoder->open();
  double sum = 0;
  int64_t tokens = 0;
  for (int64_t i = 0; i < dataset.size(); ++i) {
    const Sample sample = dataset.sample(i);
    std::vector<at::Tensor> features;
    for (const std::string& name : sample.images) {
      features.push_back(model.features(decode_image(source->read(name), name)));
    }
    const auto& [question, truth] = sample.turns.front();
    const Prompt prompt = make_prompt(model.tokenizer(), model.pattern(), {{"user", question}}, features);
    std::vector<TokenId> answer = model.tokenizer().encode(truth);
    answer.push_back(model.tokenizer().eos_id());
    decoder->truncate(sequence, 0);
    std::span<const float> logits = decoder->prefill(sequence, model.embed(prompt.ids, prompt.spans, prompt.features));
    for (size_t at = 0; at < answer.size(); ++at) {
      sum += surprise(logits, answer[at]);
      ++tokens;
      if (at + 1 < answer.size()) {
        logits = decoder->step({&sequence, 1}, {&answer[at], 1});
      }
    }
  }
  return sum / static_cast<double>(tokens);
}

int run_bench(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  const int wanted = what == "decode" ? 6 : what == "encode" ? 7 : what == "loss" ? 9 : 0;
  if (argc != wanted) {
    std::fprintf(stderr, "usage: the first lines of chat_bench.cpp\n");
    return 2;
  }
  const WeightFormat format = weight_format_of(argv[3]);
  const int64_t threads = std::atoll(argv[4]);
  if (what == "decode") {
    at::set_num_threads(static_cast<int>(threads));
    serve_decode(argv[2], format, std::atoll(argv[5]));
    return 0;
  }
  char* parts[] = {argv[2], argv[5], argv[6]};
  const auto model = load_chat(parts, argv[3], threads);
  if (what == "encode") {
    serve_encode(*model);
  } else {
    std::cout << "{\"loss\": " << answers_loss(*model, format, argv[7], argv[8]) << "}" << std::endl;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const minimind::CpuWatch watch;  // as run_main() does
  try {
    return run_bench(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
}
