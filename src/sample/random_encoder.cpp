// A frozen random encoder is only as good as what its random features keep. Three choices, all within CLIP's
// architecture, make these tell outlines apart far better than independent normal weights do:
// - the width is split, by a random rotation, into a small part for places and a large one for what a patch shows, so
//   that attention goes by place alone;
// - places are random waves, and each head's queries are its keys moved by one patch: a head looks at one neighbour,
//   with random values, which makes a block a random convolution followed by random nonlinear features;
// - patch filters are smooth and lean towards differences between the colour channels, which muted backgrounds lack.
#include "sample/random_encoder.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <string>
#include <utility>

namespace minimind::sample {
namespace {

// Cosines per axis in a patch filter, and how far the filters follow brightness rather than colour.
constexpr int64_t kCosines = 3;
constexpr double kFrequencyDecay = 0.2;
constexpr double kBrightnessShare = 0.2;
constexpr double kPatchGain = 4.0;
// Places outweigh what a patch shows, so that normalisation keeps a patch's contrast.
constexpr double kPlaceGain = 10.0;
constexpr double kPlaceFrequency = 1.2;
constexpr double kAttentionSharpness = 6.0;
constexpr double kAttentionGain = 2.0;
constexpr double kFeedForwardInputGain = 6.0;
constexpr double kFeedForwardBias = 0.5;
constexpr double kFeedForwardGain = 1.5;
// Row and column of the patch that each head looks at.
constexpr std::array<std::array<int, 2>, 8> kNeighbours = {
    {{0, 1}, {1, 0}, {0, -1}, {-1, 0}, {1, 1}, {-1, -1}, {1, -1}, {-1, 1}}};

// Row-major.
struct Matrix {
  int64_t rows = 0, columns = 0;
  std::vector<double> values;
  Matrix(int64_t rows, int64_t columns) : rows(rows), columns(columns), values(rows * columns) {}
  double& at(int64_t row, int64_t column) { return values[row * columns + column]; }
  double at(int64_t row, int64_t column) const { return values[row * columns + column]; }
};

Matrix random_matrix(int64_t rows, int64_t columns, double gain, Random& random) {
  Matrix matrix(rows, columns);
  double spread = gain / std::sqrt(static_cast<double>(columns));
  for (double& value : matrix.values) {
    value = spread * random.normal();
  }
  return matrix;
}

// `rows` orthonormal rows of `columns`: Gram-Schmidt, twice for accuracy.
Matrix random_orthonormal(int64_t rows, int64_t columns, Random& random) {
  Matrix basis = random_matrix(rows, columns, 1.0, random);
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < 2 * i; ++j) {
      double dot = 0;
      for (int64_t c = 0; c < columns; ++c) {
        dot += basis.at(i, c) * basis.at(j % i, c);
      }
      for (int64_t c = 0; c < columns; ++c) {
        basis.at(i, c) -= dot * basis.at(j % i, c);
      }
    }
    double length = 0;
    for (int64_t c = 0; c < columns; ++c) {
      length += basis.at(i, c) * basis.at(i, c);
    }
    for (int64_t c = 0; c < columns; ++c) {
      basis.at(i, c) /= std::sqrt(length);
    }
  }
  return basis;
}

Matrix product(const Matrix& a, const Matrix& b) {
  Matrix out(a.rows, b.columns);
  for (int64_t i = 0; i < a.rows; ++i) {
    for (int64_t k = 0; k < a.columns; ++k) {
      for (int64_t j = 0; j < b.columns; ++j) {
        out.at(i, j) += a.at(i, k) * b.at(k, j);
      }
    }
  }
  return out;
}

Matrix transposed(const Matrix& a) {
  Matrix out(a.columns, a.rows);
  for (int64_t i = 0; i < a.rows; ++i) {
    for (int64_t j = 0; j < a.columns; ++j) {
      out.at(j, i) = a.at(i, j);
    }
  }
  return out;
}

class Encoder {
 public:
  Encoder(const ClipFolderOptions& options, Random& random)
      : options_(options),
        random_(random),
        head_(options.hidden_size / options.num_attention_heads),
        places_(random_orthonormal(head_, options.hidden_size, random)),
        waves_(random_matrix(head_ / 2, 2, kPlaceFrequency * std::numbers::sqrt2, random)) {}

  std::vector<NamedTensor> tensors() {
    int64_t width = options_.hidden_size;
    const std::string embeddings = "vision_model.embeddings.";
    Matrix class_token = without_places(random_matrix(1, width, std::sqrt(static_cast<double>(width)), random_));
    add(embeddings + "class_embedding", {width}, class_token.values);
    add(embeddings + "patch_embedding.weight", {width, 3, options_.patch_size, options_.patch_size}, patch_filters());
    Matrix positions = place_embeddings();
    add(embeddings + "position_embedding.weight", {positions.rows, width}, positions.values);
    add_norm("vision_model.pre_layrnorm");
    for (int64_t layer = 0; layer < options_.num_hidden_layers; ++layer) {
      add_block("vision_model.encoder.layers." + std::to_string(layer));
    }
    add_norm("vision_model.post_layernorm");
    return std::move(tensors_);
  }

 private:
  void add(std::string name, std::vector<int64_t> shape, const std::vector<double>& values) {
    tensors_.push_back({std::move(name), std::move(shape), {values.begin(), values.end()}});
  }

  void add_norm(const std::string& name) {
    auto width = static_cast<size_t>(options_.hidden_size);
    add(name + ".weight", {options_.hidden_size}, std::vector<double>(width, 1.0));
    add(name + ".bias", {options_.hidden_size}, std::vector<double>(width, 0.0));
  }

  void add_linear(const std::string& name, const Matrix& weight, double bias = 0) {
    std::vector<double> biases(static_cast<size_t>(weight.rows));
    for (double& value : biases) {
      value = bias * random_.normal();
    }
    add(name + ".weight", {weight.rows, weight.columns}, weight.values);
    add(name + ".bias", {weight.rows}, biases);
  }

  // Rows freed of what lies in the subspace of places.
  Matrix without_places(Matrix matrix) const {
    Matrix inside = product(product(matrix, transposed(places_)), places_);
    for (size_t i = 0; i < matrix.values.size(); ++i) {
      matrix.values[i] -= inside.values[i];
    }
    return matrix;
  }

  // Waves at a place: cosines, then sines, of random frequencies.
  std::vector<double> phases(double row, double column) const {
    std::vector<double> out;
    for (int64_t m = 0; m < waves_.rows; ++m) {
      out.push_back(waves_.at(m, 0) * row + waves_.at(m, 1) * column);
    }
    return out;
  }

  Matrix place_embeddings() const {
    int64_t side = options_.image_size / options_.patch_size;
    Matrix waves(side * side + 1, head_);  // the class token has no place
    for (int64_t patch = 0; patch < side * side; ++patch) {
      std::vector<double> angle = phases(static_cast<double>(patch / side), static_cast<double>(patch % side));
      for (int64_t m = 0; m < head_ / 2; ++m) {
        double gain = kPlaceGain * std::sqrt(static_cast<double>(options_.num_attention_heads));
        waves.at(patch + 1, m) = gain * std::cos(angle[m]);
        waves.at(patch + 1, head_ / 2 + m) = gain * std::sin(angle[m]);
      }
    }
    return product(waves, places_);
  }

  // The keys of all heads are the place itself; the queries are the place moved to the head's neighbour.
  std::pair<Matrix, Matrix> queries_and_keys() const {
    int64_t width = options_.hidden_size, half = head_ / 2;
    Matrix moved(width, head_), same(width, head_);
    double gain = std::sqrt(kAttentionSharpness);
    for (int64_t head = 0; head < options_.num_attention_heads; ++head) {
      const auto& [down, right] = kNeighbours[head % kNeighbours.size()];
      std::vector<double> angle = phases(down, right);
      for (int64_t m = 0; m < half; ++m) {
        int64_t cosine = head * head_ + m, sine = cosine + half;
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
    int64_t width = options_.hidden_size, inner = options_.intermediate_size;
    auto content_in = [&](int64_t rows, double gain) {
      return without_places(random_matrix(rows, width, gain, random_));
    };
    auto content_out = [&](int64_t columns, double gain) {
      double scale = gain * std::sqrt(static_cast<double>(width) / static_cast<double>(columns));
      return transposed(without_places(random_matrix(columns, width, scale, random_)));
    };
    auto [queries, keys] = queries_and_keys();
    add_norm(name + ".layer_norm1");
    add_norm(name + ".layer_norm2");
    add_linear(name + ".self_attn.q_proj", queries);
    add_linear(name + ".self_attn.k_proj", keys);
    add_linear(name + ".self_attn.v_proj", content_in(width, 1.0));
    add_linear(name + ".self_attn.out_proj", content_out(width, kAttentionGain));
    add_linear(name + ".mlp.fc1", content_in(inner, kFeedForwardInputGain), kFeedForwardBias);
    add_linear(name + ".mlp.fc2", content_out(inner, kFeedForwardGain));
  }

  std::vector<double> patch_filters() const;

  const ClipFolderOptions& options_;
  Random& random_;
  int64_t head_;
  Matrix places_;  // [head width, width], orthonormal rows
  Matrix waves_;   // [head width / 2, 2] frequencies over rows and columns of patches
  std::vector<NamedTensor> tensors_;
};

// Random mixtures, for each colour channel, of the lowest cosines of a patch.
std::vector<double> Encoder::patch_filters() const {
  int64_t patch = options_.patch_size, waves = kCosines * kCosines;
  auto size = static_cast<double>(patch);
  Matrix images(waves, patch * patch);
  Matrix mixtures(3 * waves, options_.hidden_size);
  for (int64_t wave = 0; wave < waves; ++wave) {
    auto down = static_cast<double>(wave / kCosines), across = static_cast<double>(wave % kCosines);
    double norm = (down == 0 ? 1.0 : std::numbers::sqrt2) * (across == 0 ? 1.0 : std::numbers::sqrt2) / size;
    for (int64_t pixel = 0; pixel < patch * patch; ++pixel) {
      double y = static_cast<double>(pixel / patch) + 0.5, x = static_cast<double>(pixel % patch) + 0.5;
      images.at(wave, pixel) =
          norm * std::cos(std::numbers::pi * down * y / size) * std::cos(std::numbers::pi * across * x / size);
    }
    double weight = kPatchGain / size / std::sqrt(1 + kFrequencyDecay * (down * down + across * across));
    for (int64_t filter = 0; filter < options_.hidden_size; ++filter) {
      std::array<double, 3> channels = {random_.normal(), random_.normal(), random_.normal()};
      double mean = (channels[0] + channels[1] + channels[2]) / 3;
      for (int64_t c = 0; c < 3; ++c) {
        mixtures.at(c * waves + wave, filter) = weight * (channels[c] - (1 - kBrightnessShare) * mean);
      }
    }
  }
  mixtures = without_places(mixtures);
  std::vector<double> filters;
  for (int64_t filter = 0; filter < options_.hidden_size; ++filter) {
    for (int64_t c = 0; c < 3; ++c) {
      Matrix mixture(1, waves);
      for (int64_t wave = 0; wave < waves; ++wave) {
        mixture.at(0, wave) = mixtures.at(c * waves + wave, filter);
      }
      Matrix image = product(mixture, images);
      filters.insert(filters.end(), image.values.begin(), image.values.end());
    }
  }
  return filters;
}

}  // namespace

std::vector<NamedTensor> random_encoder_weights(const ClipFolderOptions& options, Random& random) {
  return Encoder(options, random).tensors();
}

}  // namespace minimind::sample
