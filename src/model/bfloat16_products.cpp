#include "model/bfloat16_products.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/cpu/Utils.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <vector>

#include "base/primitive_cache.h"
#include "minimind/base/content_hash.h"
#include "minimind/base/error.h"
#include "minimind/base/fields.h"
#include "minimind/base/file.h"
#include "model/ops/row_loops.h"
#include "model/small_gemm.h"

namespace minimind {

namespace {

// A feed-forward layer of the model of width 512; rows of a small batch, and of a prompt.
constexpr int64_t kDim = 512;
constexpr int64_t kInner = 1408;
constexpr int64_t kLargeRows = 96;  // a millisecond in one thread: less than a time slice
constexpr int64_t kSmallRows = 70;
constexpr int kTurns = 15;

// What else a training step does in bfloat16 takes longer than in float32.
constexpr double kLeastLargeGain = 1.2;
constexpr double kLeastSmallGain = 1.1;

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// How many times as fast as `base` `work` is: the shortest times of turns by turns, which other programs disturb
/// least.
double gain_of(const std::function<void()>& work, const std::function<void()>& base) {
  double shortest = std::numeric_limits<double>::infinity(), shortest_base = shortest;
  work();
  base();
  for (int turn = 0; turn < kTurns; ++turn) {
    shortest = std::min(shortest, seconds_of(work));
    shortest_base = std::min(shortest_base, seconds_of(base));
  }
  return shortest_base / shortest;
}

/// Model and instruction sets of the processor, and all else that decides the speed of products.
std::string processor_key() {
  std::string key = concat("kernels ", best_gemv_kernels().name);
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line) && !line.empty();) {
    for (const char* name : {"vendor_id", "cpu family", "model", "stepping", "CPU implementer", "CPU part"}) {
      if (line.starts_with(name)) {
        key += "; " + line;
      }
    }
  }
  for (const char* name : {"ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ONEDNN_DEFAULT_FPMATH_MODE"}) {
    const char* const value = std::getenv(name);
    key += value == nullptr ? "" : concat("; ", name, "=", value);
  }
  std::ranges::replace(key, '\t', ' ');
  return key;
}

/// Empty if the environment names no folder.
std::string cache_folder() {
  const char* const cache = std::getenv("XDG_CACHE_HOME");
  const char* const home = std::getenv("HOME");
  if (cache != nullptr && *cache == '/') {
    return concat(cache, "/minimind");
  }
  return home != nullptr && *home == '/' ? concat(home, "/.cache/minimind") : "";
}

/// The content of a kept file.
struct KeptChoice {
  std::string key;
  Bfloat16Products products;

  Fields fields() {
    return {{"key", &key, "", {}},
            {"in_large_gemms", &products.in_large_gemms, "", {}},
            {"in_small_gemms", &products.in_small_gemms, "", {}},
            {"large_gain", &products.large_gain, "", {}},
            {"small_gain", &products.small_gain, "", {}}};
  }
};

Bfloat16Products choose() {
  constexpr const char* kVariable = "MINIMIND_BFLOAT16";
  if (const char* const forced = std::getenv(kVariable); forced != nullptr) {
    const std::string value = forced;
    require(value == "products" || value == "float32", kVariable, ": expected products or float32, found '", value,
            "'; unset it and the faster way is taken");
    return {.in_large_gemms = value == "products", .in_small_gemms = value == "products"};
  }
  if (!processor_has_bfloat16()) {
    return {};
  }
  return kept_bfloat16_products(cache_folder(), processor_key(), measure_bfloat16_products);
}

MINIMIND_CLONES void widen(const uint16_t* from, float* to, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t bits = static_cast<uint32_t>(from[i]) << 16;
    __builtin_memcpy(to + i, &bits, sizeof(bits));
  }
}

/// Widens some rows at a time: they stay in the second-level cache until all input rows have used them.
void widening_small_gemm(const uint16_t* weights, const SmallGemm& gemm) {
  constexpr int64_t kRows = 12;  // whole tiles of every instruction set
  std::vector<float> rows(static_cast<size_t>(std::min(kRows, gemm.rows) * gemm.cols));
  for (int64_t first = 0; first < gemm.rows; first += kRows) {
    SmallGemm part = gemm;
    part.rows = std::min(kRows, gemm.rows - first);
    part.y = gemm.y + first;
    widen(weights + first * gemm.cols, rows.data(), part.rows * gemm.cols);
    best_gemv_kernels().small_gemm_float32(rows.data(), part);
  }
}

}  // namespace

std::string Bfloat16Products::text(bool large) const {
  const double gain = large ? large_gain : small_gain;
  const bool used = large ? in_large_gemms : in_small_gemms;
  if (gain <= 0) {
    return used                       ? "bfloat16 products: as MINIMIND_BFLOAT16 demands"
           : processor_has_bfloat16() ? "bfloat16 is widened to float32, as MINIMIND_BFLOAT16 demands"
                                      : "bfloat16 is widened to float32: this processor has no bfloat16 products";
  }
  std::array<char, 32> number{};
  std::snprintf(number.data(), number.size(), "%.1fx", gain);
  return used ? concat("bfloat16 products: ", number.data(), " float32 on this processor")
              : concat("bfloat16 is widened to float32: bfloat16 products are ", number.data(), " here");
}

bool processor_has_bfloat16() {
  const auto capabilities = at::cpu::get_cpu_capabilities();
  return std::ranges::any_of(std::array{"avx512_bf16", "amx_bf16", "arm_bf16"}, [&](const char* name) {
    const auto found = capabilities.find(name);
    return found != capabilities.end() && found->second.isBool() && found->second.toBool();
  });
}

const Bfloat16Products& bfloat16_products() {
  static const Bfloat16Products chosen = choose();
  return chosen;
}

namespace {

Bfloat16Products measure_in_one_thread() {
  const c10::InferenceMode inference;
  // Not zeros: some processors multiply them with less power and more speed.
  const at::Tensor weight = at::arange(kInner * kDim, at::kFloat).sin_().view({kInner, kDim});
  const at::Tensor narrow = weight.to(at::kBFloat16);
  const at::Tensor x = at::arange(kLargeRows * kDim, at::kFloat).cos_().view({kLargeRows, kDim});
  const at::Tensor few = x.narrow(0, 0, kSmallRows).contiguous();
  Bfloat16Products products;
  products.large_gain = gain_of([&] { at::linear(x.to(at::kBFloat16), narrow); }, [&] { at::linear(x, weight); });
  products.in_large_gemms = products.large_gain >= kLeastLargeGain;
  if (best_gemv_kernels().takes_bf16_input) {
    products.small_gain = gain_of([&] { small_gemm(few, narrow, {}, best_gemv_kernels()); },
                                  [&] { small_gemm(few, narrow, {}, widening_kernels()); });
    products.in_small_gemms = products.small_gain >= kLeastSmallGain;
  }
  return products;
}

}  // namespace

Bfloat16Products measure_bfloat16_products() {
  limit_primitive_cache();
  // Threads that wait for each other beside busy processes would measure the load. Inside a parallel region all
  // matmuls use one thread.
  Bfloat16Products products;
  at::parallel_for(0, 2, 1, [&](int64_t begin, int64_t) {
    if (begin == 0) {
      products = measure_in_one_thread();
    }
  });
  return products;
}

Bfloat16Products kept_bfloat16_products(const std::string& folder, const std::string& key,
                                        Bfloat16Products (*measure)()) {
  if (folder.empty()) {
    return measure();
  }
  const std::filesystem::path path =
      std::filesystem::path(folder) / concat("bfloat16-", to_hex(hash_content(key)), ".json");
  KeptChoice kept;
  try {
    fields_from_json(kept.fields(), read_file(path), path.string());
    if (kept.key == key) {
      return kept.products;
    }
  } catch (const Error&) {
    // No file yet, or a damaged one.
  }
  kept = {.key = key, .products = measure()};
  try {
    std::filesystem::create_directories(folder);
    write_file_atomically(path, fields_to_json(kept.fields()) + "\n");
  } catch (const std::exception&) {
    // The next run measures again.
  }
  return kept.products;
}

const GemvKernels& widening_kernels() {
  static const GemvKernels kernels = [] {
    GemvKernels widening = best_gemv_kernels();
    widening.takes_bf16_input = false;
    widening.small_gemm_bf16 = widening_small_gemm;
    return widening;
  }();
  return kernels;
}

const GemvKernels& gemm_kernels(WeightFormat format) {
  const bool widens = format == WeightFormat::kBFloat16 && has_vector_kernels() && !bfloat16_products().in_small_gemms;
  return widens ? widening_kernels() : best_gemv_kernels();
}

}  // namespace minimind
