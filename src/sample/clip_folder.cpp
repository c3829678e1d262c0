// A frozen random encoder is only as good as its features. Three choices make them tell outlines apart far better
// than independent normal weights do:
// - A random rotation splits the width into a small subspace for places and a large one for the content of patches.
//   Attention depends on places alone.
// - Places are random waves. The queries of a head are its keys moved by one patch. A head therefore attends to one
//   neighbour, with random values. A block is a random convolution followed by random nonlinear features.
// - Patch filters are smooth and prefer differences between colour channels, which muted backgrounds lack.
#include "sample/clip_folder.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "base/tensor_layout.h"
#include "minimind/base/error.h"
#include "minimind/base/file.h"
#include "minimind/base/random.h"

namespace minimind::sample {
namespace {

// Cosines per axis in a patch filter, and the share of brightness against colour in the filters.
constexpr size_t kCosines = 3;
constexpr double kFrequencyDecay = 0.2;
constexpr double kBrightnessShare = 0.2;
constexpr double kPatchGain = 4.0;
// Places outweigh the content of patches, so that normalisation keeps the contrast of a patch.
constexpr double kPlaceGain = 10.0;
constexpr double kPlaceFrequency = 1.2;
constexpr double kAttentionSharpness = 6.0;
constexpr double kAttentionGain = 2.0;
constexpr double kFeedForwardInputGain = 6.0;
constexpr double kFeedForwardBias = 0.5;
constexpr double kFeedForwardGain = 1.5;
// Offset in rows and columns of the patch to which each head attends.
constexpr std::array<std::array<int, 2>, 8> kNeighbours = {
    {{0, 1}, {1, 0}, {0, -1}, {-1, 0}, {1, 1}, {-1, -1}, {1, -1}, {-1, 1}}};

// Row-major.
struct Matrix {
  size_t rows, columns;
  std::vector<double> values;
  Matrix(size_t row_count, size_t column_count)
      : rows(row_count), columns(column_count), values(row_count * column_count) {}
  double& at(size_t row, size_t column) { return values[row * columns + column]; }
  double at(size_t row, size_t column) const { return values[row * columns + column]; }
  double* row(size_t index) { return &values[index * columns]; }
};

// The matrix whose elements are value(row, column), called row by row.
template <class Function>
Matrix matrix_of(size_t rows, size_t columns, Function value) {
  Matrix out(rows, columns);
  for (size_t i = 0; i < out.values.size(); ++i) {
    out.values[i] = value(i / columns, i % columns);
  }
  return out;
}

Matrix random_matrix(size_t rows, size_t columns, double gain, Random& random) {
  const double deviation = gain / std::sqrt(static_cast<double>(columns));
  return matrix_of(rows, columns, [&](size_t, size_t) { return deviation * random.normal(); });
}

Matrix transposed(const Matrix& a) {
  return matrix_of(a.columns, a.rows, [&a](size_t i, size_t j) { return a.at(j, i); });
}

Matrix product(const Matrix& a, const Matrix& b) {
  Matrix out(a.rows, b.columns);
  for (size_t i = 0; i < a.rows; ++i) {
    for (size_t k = 0; k < a.columns; ++k) {
      for (size_t j = 0; j < b.columns; ++j) {
        out.at(i, j) += a.at(i, k) * b.at(k, j);
      }
    }
  }
  return out;
}

// `rows` orthonormal rows of `columns`: Gram-Schmidt, twice for accuracy.
Matrix random_orthonormal(size_t rows, size_t columns, Random& random) {
  const auto dot = [columns](const double* a, const double* b) { return std::inner_product(a, a + columns, b, 0.0); };
  Matrix basis = random_matrix(rows, columns, 1.0, random);
  for (size_t i = 0; i < rows; ++i) {
    double* row = basis.row(i);
    for (size_t j = 0; j < 2 * i; ++j) {
      const double* other = basis.row(j % i);
      const double share = dot(row, other);
      std::transform(row, row + columns, other, row, [share](double a, double b) { return a - share * b; });
    }
    const double length = std::sqrt(dot(row, row));
    std::for_each(row, row + columns, [length](double& value) { value /= length; });
  }
  return basis;
}

/// A float32 tensor, row-major.
struct NamedTensor {
  std::string name;
  std::vector<int64_t> shape;
  std::vector<float> values;
};

class Encoder {
 public:
  explicit Encoder(const ClipFolderOptions& options)
      : layers_(options.num_hidden_layers),
        width_(static_cast<size_t>(options.hidden_size)),
        inner_(static_cast<size_t>(options.intermediate_size)),
        heads_(static_cast<size_t>(options.num_attention_heads)),
        head_(width_ / heads_),
        patch_(static_cast<size_t>(options.patch_size)),
        side_(static_cast<size_t>(options.image_size) / patch_),
        random_(options.seed),
        places_(random_orthonormal(head_, width_, random_)),
        waves_(random_matrix(head_ / 2, 2, kPlaceFrequency * std::numbers::sqrt2, random_)) {}

  /// All tensors of the encoder by their names in a Hugging Face folder.
  std::vector<NamedTensor> tensors() {
    const std::string embeddings = "vision_model.embeddings.";
    Matrix class_token = without_places(random_matrix(1, width_, std::sqrt(static_cast<double>(width_)), random_));
    add(embeddings + "class_embedding", {width_}, class_token.values);
    add(embeddings + "patch_embedding.weight", {width_, 3, patch_, patch_}, patch_filters());
    add(embeddings + "position_embedding.weight", {side_ * side_ + 1, width_}, place_embeddings().values);
    add_norm("vision_model.pre_layrnorm");
    for (int64_t layer = 0; layer < layers_; ++layer) {
      add_block("vision_model.encoder.layers." + std::to_string(layer));
    }
    add_norm("vision_model.post_layernorm");
    return std::move(tensors_);
  }

 private:
  void add(std::string name, const std::vector<size_t>& shape, const std::vector<double>& values) {
    tensors_.push_back({std::move(name), {shape.begin(), shape.end()}, {values.begin(), values.end()}});
  }

  void add_norm(const std::string& name) {
    add(name + ".weight", {width_}, std::vector<double>(width_, 1.0));
    add(name + ".bias", {width_}, std::vector<double>(width_, 0.0));
  }

  void add_linear(const std::string& name, const Matrix& weight, double bias = 0) {
    std::vector<double> biases(weight.rows);
    for (double& value : biases) {
      value = bias * random_.normal();
    }
    add(name + ".weight", {weight.rows, weight.columns}, weight.values);
    add(name + ".bias", {weight.rows}, biases);
  }

  // The rows without their part in the subspace of places.
  Matrix without_places(Matrix matrix) const {
    Matrix inside = product(product(matrix, transposed(places_)), places_);
    for (size_t i = 0; i < matrix.values.size(); ++i) {
      matrix.values[i] -= inside.values[i];
    }
    return matrix;
  }

  // The phases of the random waves at a place.
  std::vector<double> phases(double row, double column) const {
    std::vector<double> out;
    for (size_t m = 0; m < waves_.rows; ++m) {
      out.push_back(waves_.at(m, 0) * row + waves_.at(m, 1) * column);
    }
    return out;
  }

  Matrix place_embeddings() const {
    Matrix waves(side_ * side_ + 1, head_);  // row 0: the class token has no place
    for (size_t patch = 0; patch < side_ * side_; ++patch) {
      const size_t row = patch / side_, column = patch % side_;
      const std::vector<double> angle = phases(static_cast<double>(row), static_cast<double>(column));
      for (size_t m = 0; m < head_ / 2; ++m) {
        double gain = kPlaceGain * std::sqrt(static_cast<double>(heads_));
        waves.at(patch + 1, m) = gain * std::cos(angle[m]);
        waves.at(patch + 1, head_ / 2 + m) = gain * std::sin(angle[m]);
      }
    }
    return product(waves, places_);
  }

  // The keys of all heads are the place itself; the queries are the place moved to the head's neighbour.
  std::pair<Matrix, Matrix> queries_and_keys() const {
    const size_t half = head_ / 2;
    Matrix moved(width_, head_), same(width_, head_);
    double gain = std::sqrt(kAttentionSharpness);
    for (size_t head = 0; head < heads_; ++head) {
      const auto& [down, right] = kNeighbours[head % kNeighbours.size()];
      std::vector<double> angle = phases(down, right);
      for (size_t m = 0; m < half; ++m) {
        size_t cosine = head * head_ + m, sine = cosine + half;
        moved.at(cosine, m) = gain * std::cos(angle[m]);
        moved.at(cosine, half + m) = -gain * std::sin(angle[m]);
        moved.at(sine, m) = gain * std::sin(angle[m]);
        moved.at(sine, half + m) = gain * std::cos(angle[m]);
        same.at(cosine, m) = same.at(sine, half + m) = gain;
      }
    }
    return {product(moved, places_), product(same, places_)};
  }

  void add_block(const std::string& name) {
    auto content_in = [&](size_t rows, double gain) {
      return without_places(random_matrix(rows, width_, gain, random_));
    };
    auto content_out = [&](size_t columns, double gain) {
      double scale = gain * std::sqrt(static_cast<double>(width_) / static_cast<double>(columns));
      return transposed(without_places(random_matrix(columns, width_, scale, random_)));
    };
    auto [queries, keys] = queries_and_keys();
    add_norm(name + ".layer_norm1");
    add_norm(name + ".layer_norm2");
    add_linear(name + ".self_attn.q_proj", queries);
    add_linear(name + ".self_attn.k_proj", keys);
    add_linear(name + ".self_attn.v_proj", content_in(width_, 1.0));
    add_linear(name + ".self_attn.out_proj", content_out(width_, kAttentionGain));
    add_linear(name + ".mlp.fc1", content_in(inner_, kFeedForwardInputGain), kFeedForwardBias);
    add_linear(name + ".mlp.fc2", content_out(inner_, kFeedForwardGain));
  }

  std::vector<double> patch_filters();

  int64_t layers_;
  size_t width_, inner_, heads_;
  size_t head_;  ///< width of a head
  size_t patch_;
  size_t side_;  ///< patches per row
  Random random_;
  Matrix places_;  ///< [head_, width_], orthonormal rows
  Matrix waves_;   ///< [head_ / 2, 2] frequencies over rows and columns of patches
  std::vector<NamedTensor> tensors_;
};

// Random mixtures, for each colour channel, of the lowest cosines of a patch.
std::vector<double> Encoder::patch_filters() {
  const size_t waves = kCosines * kCosines;
  const auto size = static_cast<double>(patch_);
  const auto cosine = [size](size_t frequency, size_t pixel) {
    return (frequency == 0 ? 1.0 : std::numbers::sqrt2) *
           std::cos(std::numbers::pi * static_cast<double>(frequency) * (static_cast<double>(pixel) + 0.5) / size);
  };
  const Matrix images = matrix_of(waves, patch_ * patch_, [&](size_t wave, size_t pixel) {
    return cosine(wave / kCosines, pixel / patch_) * cosine(wave % kCosines, pixel % patch_) / size;
  });
  Matrix mixtures(3 * waves, width_);
  for (size_t wave = 0; wave < waves; ++wave) {
    const size_t row = wave / kCosines, column = wave % kCosines;
    const auto down = static_cast<double>(row), across = static_cast<double>(column);
    double weight = kPatchGain / size / std::sqrt(1 + kFrequencyDecay * (down * down + across * across));
    for (size_t filter = 0; filter < width_; ++filter) {
      std::array<double, 3> channels = {random_.normal(), random_.normal(), random_.normal()};
      double mean = (channels[0] + channels[1] + channels[2]) / 3;
      for (size_t c = 0; c < 3; ++c) {
        mixtures.at(c * waves + wave, filter) = weight * (channels[c] - (1 - kBrightnessShare) * mean);
      }
    }
  }
  mixtures = without_places(mixtures);
  const Matrix by_filter = matrix_of(
      3 * width_, waves, [&](size_t row, size_t wave) { return mixtures.at(row % 3 * waves + wave, row / 3); });
  return product(by_filter, images).values;
}

nlohmann::ordered_json model_config(const ClipFolderOptions& options) {
  return {{"architectures", {"CLIPVisionModel"}},
          {"model_type", "clip_vision_model"},
          {"hidden_size", options.hidden_size},
          {"intermediate_size", options.intermediate_size},
          {"num_hidden_layers", options.num_hidden_layers},
          {"num_attention_heads", options.num_attention_heads},
          {"num_channels", 3},
          {"image_size", options.image_size},
          {"patch_size", options.patch_size},
          {"hidden_act", "quick_gelu"},
          {"layer_norm_eps", 1e-5},
          {"attention_dropout", 0.0},
          {"torch_dtype", "float32"}};
}

nlohmann::ordered_json preprocessor_config(int64_t size) {
  return {{"crop_size", {{"height", size}, {"width", size}}},
          {"do_center_crop", true},
          {"do_normalize", true},
          {"do_resize", true},
          {"image_mean", {0.48145466, 0.4578275, 0.40821073}},
          {"image_processor_type", "CLIPImageProcessor"},
          {"image_std", {0.26862954, 0.26130258, 0.27577711}},
          {"resample", 3},
          {"size", {{"shortest_edge", size}}}};
}

void write_safetensors(const std::filesystem::path& path, const std::vector<NamedTensor>& tensors) {
  std::vector<TensorLayout> layout;
  layout.reserve(tensors.size());
  for (const NamedTensor& tensor : tensors) {
    layout.push_back({tensor.name, "F32", tensor.shape, tensor.values.size() * sizeof(float)});
  }
  AtomicFile file(path);
  file.write(safetensors_header(layout, {{"format", "pt"}}));
  for (const NamedTensor& tensor : tensors) {
    file.write(tensor.values.data(), tensor.values.size() * sizeof(float));
  }
  file.commit();
}

}  // namespace

void write_clip_folder(const std::filesystem::path& folder, const ClipFolderOptions& options) {
  require(
      options.hidden_size % (2 * options.num_attention_heads) == 0 && options.image_size % options.patch_size == 0,
      "sample encoder: expected a width divisible by twice the heads and an image size divisible by the patch size, ",
      "found width ", options.hidden_size, ", heads ", options.num_attention_heads, ", image ", options.image_size,
      ", patch ", options.patch_size);
  ensure_writable_folder(folder);
  write_safetensors(folder / "model.safetensors", Encoder(options).tensors());
  write_file_atomically(folder / "config.json", model_config(options).dump(2) + "\n");
  write_file_atomically(folder / "preprocessor_config.json", preprocessor_config(options.image_size).dump(2) + "\n");
}

}  // namespace minimind::sample
