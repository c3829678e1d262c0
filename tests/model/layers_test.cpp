#include "minimind/model/layers.h"

#include <gtest/gtest.h>

#include <cmath>

#include "minimind/base/error.h"
#include "minimind/model/attention.h"
#include "minimind/model/clip_vision.h"
#include "minimind/model/rope.h"
#include "model/row_passes.h"
#include "model/small_model.h"

namespace minimind::testing {
namespace {

TEST(Rope, TurnsConsecutivePairsByThePosition) {
  const int64_t start = 5, count = 3, width = 8;
  RopeTable table(width);
  const at::Tensor heads = waves({1, count, 2, width});
  const at::Tensor turned = apply_rope(heads, table.slice(start, count, at::kCPU));
  for (int64_t position = 0; position < count; ++position) {
    for (int64_t head = 0; head < 2; ++head) {
      for (int64_t pair = 0; pair < width / 2; ++pair) {
        const double angle =
            static_cast<double>(start + position) * std::pow(10000.0, -2.0 * static_cast<double>(pair) / width);
        const double x = heads[0][position][head][2 * pair].item<double>();
        const double y = heads[0][position][head][2 * pair + 1].item<double>();
        const at::Tensor found = turned[0][position][head];
        EXPECT_NEAR(found[2 * pair].item<double>(), x * std::cos(angle) - y * std::sin(angle), 1e-5);
        EXPECT_NEAR(found[2 * pair + 1].item<double>(), x * std::sin(angle) + y * std::cos(angle), 1e-5);
      }
    }
  }
}

TEST(Rope, BackwardTurnsTheOtherWay) {
  RopeTable table(8);
  const RopeSlice rope = table.slice(3, 4, at::kCPU);
  const at::Tensor heads = waves({2, 4, 3, 8}).requires_grad_();
  const at::Tensor gradient = waves({2, 4, 3, 8}, 0.9);
  apply_rope(heads, rope).backward(gradient);
  // A rotation keeps inner products: <R h, R g'> = <h, g'> with g = R g'.
  EXPECT_LE(largest_gap(apply_rope(heads.grad(), rope), gradient), 1e-5);
}

TEST(Rope, BFloat16IsTheFloat32ResultRounded) {
  RopeTable table(8);
  const RopeSlice rope = table.slice(3, 4, at::kCPU);
  const at::Tensor heads = waves({2, 4, 3, 8}).to(at::kBFloat16).requires_grad_();
  const at::Tensor wide = heads.detach().to(at::kFloat).requires_grad_();
  const at::Tensor gradient = waves({2, 4, 3, 8}, 0.9).to(at::kBFloat16);
  const at::Tensor turned = apply_rope(heads, rope), wide_turned = apply_rope(wide, rope);
  EXPECT_EQ(turned.scalar_type(), at::kBFloat16);
  EXPECT_TRUE(at::equal(turned, wide_turned.to(at::kBFloat16)));
  turned.backward(gradient);
  wide_turned.backward(gradient.to(at::kFloat));
  EXPECT_TRUE(at::equal(heads.grad(), wide.grad().to(at::kBFloat16)));
}

TEST(Rope, GrowsForPositionsBeyondTheTable) {
  RopeTable small(8), large(8);
  (void)small.slice(0, 4, at::kCPU);
  EXPECT_TRUE(
      at::equal(small.slice(2000, 3, at::kCPU).rotations, large.slice(1998, 5, at::kCPU).rotations.narrow(0, 2, 3)));
}

at::Tensor composed_norm(const at::Tensor& input, const at::Tensor& weight, double eps) {
  const at::Tensor wide = input.to(at::kFloat);
  return (wide * at::rsqrt(wide.pow(2).mean(-1, true) + eps)).to(input.scalar_type()) * weight;
}

TEST(RmsNorm, AgreesWithItsDefinitionForwardAndBackward) {
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    RmsNorm norm(24, 1e-5);
    norm->to(type);
    {
      const at::NoGradGuard without_gradients;
      norm->weight.copy_(waves({24}) + 1.5);
    }
    const at::Tensor ours = (waves({2, 5, 24}) * 3).to(type).requires_grad_();
    const at::Tensor theirs = ours.detach().clone().requires_grad_();
    const at::Tensor weight = norm->weight.detach().clone().requires_grad_();
    const at::Tensor gradient = waves({2, 5, 24}, 1.1).to(type);
    const at::Tensor output = norm->forward(ours), expected = composed_norm(theirs, weight, 1e-5);
    output.backward(gradient);
    expected.backward(gradient);
    const double tolerance = type == at::kFloat ? 1e-5 : 0.05;
    EXPECT_EQ(output.scalar_type(), type);
    EXPECT_LE(largest_gap(output, expected), type == at::kFloat ? 1e-6 : 0.02);
    EXPECT_LE(largest_gap(ours.grad(), theirs.grad()), tolerance);
    EXPECT_LE(largest_gap(norm->weight.grad(), weight.grad()), tolerance);
  }
}

TEST(RmsNorm, WorksInFloat32OnBfloat16Input) {
  RmsNorm norm(64, 1e-5);
  norm->to(at::kBFloat16);
  const at::Tensor input = (waves({1, 1, 64}) * 200).to(at::kBFloat16);
  const at::Tensor exact = composed_norm(input.to(at::kFloat), at::ones({64}), 1e-5);
  EXPECT_LE(largest_gap(norm->forward(input), exact.to(at::kBFloat16)), 1e-9);
}

TEST(FeedForward, AgreesWithSwigluForwardAndBackward) {
  LmConfig config;
  config.dim = 8;
  config.hidden_dim = 12;
  FeedForward layer(config);
  {
    const at::NoGradGuard without_gradients;
    layer->w1->weight.copy_(waves({12, 8}));
    layer->w2->weight.copy_(waves({8, 12}, 0.7));
    layer->w3->weight.copy_(waves({12, 8}, 2.1));
  }
  const at::Tensor ours = waves({2, 3, 8}).requires_grad_(), theirs = waves({2, 3, 8}).requires_grad_();
  const at::Tensor gradient = waves({2, 3, 8}, 0.2);
  std::vector<at::Tensor> weights;
  for (const Linear& linear : {layer->w1, layer->w2, layer->w3}) {
    weights.push_back(linear->weight.detach().clone().requires_grad_());
  }
  const at::Tensor output = layer->forward(ours);
  const at::Tensor gate = at::matmul(theirs, weights[0].t());
  const at::Tensor expected = at::matmul(gate * at::sigmoid(gate) * at::matmul(theirs, weights[2].t()), weights[1].t());
  output.backward(gradient);
  expected.backward(gradient);
  EXPECT_LE(largest_gap(output, expected), 1e-5);
  EXPECT_LE(largest_gap(ours.grad(), theirs.grad()), 1e-4);
  EXPECT_LE(largest_gap(layer->w1->weight.grad(), weights[0].grad()), 1e-4);
  EXPECT_LE(largest_gap(layer->w2->weight.grad(), weights[1].grad()), 1e-4);
  EXPECT_LE(largest_gap(layer->w3->weight.grad(), weights[2].grad()), 1e-4);
}

/// One query head at a time, with an explicit loop over the keys that it may see.
at::Tensor attention_by_loops(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values) {
  const int64_t batch = queries.size(0), count = queries.size(1), heads = queries.size(2), width = queries.size(3);
  const int64_t held = keys.size(2), group = heads / keys.size(1);
  at::Tensor output = at::zeros({batch, count, heads, width});
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t h = 0; h < heads; ++h) {
        const int64_t seen = held - count + i + 1;
        const at::Tensor scores = at::mv(keys[b][h / group].narrow(0, 0, seen), queries[b][i][h]) / std::sqrt(width);
        output[b][i][h] = at::mv(values[b][h / group].narrow(0, 0, seen).t(), at::softmax(scores, 0));
      }
    }
  }
  return output.flatten(2);
}

TEST(GroupedQueryAttention, AgreesWithLoopsOverHeadsAndKeys) {
  struct Shape {
    int64_t count, held, heads, kv_heads;
  };
  for (const Shape& shape : {Shape{5, 5, 4, 2}, Shape{5, 5, 4, 4}, Shape{1, 6, 4, 2}, Shape{3, 7, 6, 1}}) {
    const at::Tensor queries = waves({2, shape.count, shape.heads, 8}) * 2;
    const at::Tensor keys = waves({2, shape.kv_heads, shape.held, 8}, 0.8) * 2;
    const at::Tensor values = waves({2, shape.kv_heads, shape.held, 8}, 1.9);
    EXPECT_LE(largest_gap(grouped_query_attention(queries, keys, values), attention_by_loops(queries, keys, values)),
              1e-5);
  }
}

// 5 positions are few enough for the shares to be kept, 33 are made again.
TEST(GroupedQueryAttention, BackwardAgreesWithLoops) {
  for (const int64_t count : {1, 5, 33}) {
    SCOPED_TRACE(count);
    std::vector<at::Tensor> ours, theirs;
    for (std::vector<at::Tensor>* side : {&ours, &theirs}) {
      *side = {waves({2, count, 4, 8}), waves({2, 2, count, 8}, 0.8), waves({2, 2, count, 8}, 1.9)};
      for (const at::Tensor& tensor : *side) {
        tensor.requires_grad_();
      }
    }
    const at::Tensor gradient = waves({2, count, 32}, 0.4);
    grouped_query_attention(ours[0], ours[1], ours[2]).backward(gradient);
    attention_by_loops(theirs[0], theirs[1], theirs[2]).backward(gradient);
    for (size_t i = 0; i < ours.size(); ++i) {
      EXPECT_LE(largest_gap(ours[i].grad(), theirs[i].grad()), 1e-4) << i;
    }
  }
}

TEST(Attention, RefusesAnotherWidthAndAFullCache) {
  const LmConfig config = small_config();
  Attention attention(config);
  RopeTable table(config.head_dim());
  EXPECT_THROW(attention->forward(at::zeros({1, 2, 31}), table.slice(0, 2, at::kCPU)), Error);
  KvCache cache = make_cache(config, 1, 3);
  const at::NoGradGuard without_gradients;
  const at::Tensor hidden = at::zeros({1, 2, 32});
  attention->forward(hidden, table.slice(0, 2, at::kCPU), &cache.layers[0]);
  EXPECT_THROW(attention->forward(hidden, table.slice(2, 2, at::kCPU), &cache.layers[0]), Error);
  EXPECT_EQ(cache.layers[0].length, 2);
  EXPECT_THROW(attention->forward(at::zeros({2, 1, 32}), table.slice(2, 1, at::kCPU), &cache.layers[0]), Error);
}

ClipVisionConfig small_clip_config() {
  ClipVisionConfig config;
  config.hidden_size = 16;
  config.intermediate_size = 24;
  config.num_hidden_layers = 2;
  config.num_attention_heads = 2;
  config.image_size = 64;
  return config;
}

TEST(ClipVision, IsFrozenAndHasOneTokenForEachPatchAndTheClass) {
  ClipVision encoder(small_clip_config());
  for (const at::Tensor& parameter : encoder->parameters()) {
    EXPECT_FALSE(parameter.requires_grad());
  }
  const at::Tensor features = encoder->encode(at::zeros({3, 3, 64, 64}, at::kByte));
  EXPECT_EQ(features.sizes(), at::IntArrayRef({3, 5, 16}));
  EXPECT_FALSE(features.requires_grad());
}

TEST(ClipVision, RefusesFeaturesThatAreNoNumbers) {
  ClipVision encoder(small_clip_config());
  encoder->parameters()[0].detach().fill_(std::nan(""));
  EXPECT_THROW(encoder->encode(at::zeros({1, 3, 64, 64}, at::kByte)), Error);
}

TEST(ClipVision, EncodesBytesAsTheirNormalisedPixels) {
  ClipVision encoder(small_clip_config());
  const at::NoGradGuard without_gradients;
  double phase = 0;
  for (at::Tensor& parameter : encoder->parameters()) {
    parameter.copy_(waves(parameter.sizes().vec(), phase += 0.37) * 0.3);
  }
  encoder->set_normalisation({0.5f, 0.25f, 0.1f}, {0.5f, 0.2f, 0.3f});
  const at::Tensor bytes = at::arange(2 * 3 * 64 * 64).remainder(251).to(at::kByte).view({2, 3, 64, 64});
  const at::Tensor mean = at::tensor({0.5f, 0.25f, 0.1f}).view({3, 1, 1});
  const at::Tensor deviation = at::tensor({0.5f, 0.2f, 0.3f}).view({3, 1, 1});
  const at::Tensor pixels = (bytes.to(at::kFloat) / 255 - mean) / deviation;
  EXPECT_LE(largest_gap(encoder->encode(bytes), encoder->forward(pixels)), 1e-6);
  EXPECT_GT(largest_gap(encoder->encode(bytes)[0], encoder->encode(bytes)[1]), 1e-3);
}

/// Weights of every sign and size, so that another order of a sum shows.
void fill_with_waves(ClipVision& encoder) {
  const at::NoGradGuard without_gradients;
  double phase = 0;
  for (at::Tensor& parameter : encoder->parameters()) {
    parameter.copy_(waves(parameter.sizes().vec(), phase += 0.7) * (parameter.dim() > 1 ? 0.05 : 1.0));
  }
}

TEST(ClipVision, GivesAnImageTheSameNumbersInAnyGroup) {
  ClipVisionConfig wide = small_clip_config();  // of the widths of ViT-B/32
  wide.hidden_size = 768;
  wide.intermediate_size = 3072;
  wide.num_attention_heads = 12;
  wide.num_hidden_layers = 1;
  for (const ClipVisionConfig& config : {small_clip_config(), wide}) {
    ClipVision encoder(config);
    fill_with_waves(encoder);
    for (const bool narrow : {false, true}) {
      SCOPED_TRACE(::testing::Message() << config.hidden_size << (narrow ? " bfloat16" : " float32"));
      if (narrow) {
        encoder->narrow_matrices();
      }
      const at::Tensor pixels = waves({11, 3, config.image_size, config.image_size});
      encoder->encode_in_groups(0);
      const at::Tensor at_once = encoder->forward(pixels);
      encoder->encode_in_groups(4);
      const at::Tensor all = encoder->forward(pixels);
      EXPECT_LE(largest_gap(all, at_once) / at_once.abs().max().item<double>(), narrow ? 2e-2 : 1e-5);
      for (const auto& [first, count] : {std::pair<int64_t, int64_t>{0, 1}, {1, 3}, {2, 4}, {3, 7}, {10, 1}}) {
        EXPECT_TRUE(at::equal(encoder->forward(pixels.narrow(0, first, count)), all.narrow(0, first, count)))
            << first << " " << count;
      }
      EXPECT_EQ(encoder->forward(pixels.narrow(0, 0, 0)).size(0), 0);
    }
  }
}

TEST(ClipVision, ItsActivationIsXTimesTheSigmoidOfItsMultiple) {
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    const at::Tensor x = at::cat({at::linspace(-110, 110, 39'960, at::kFloat), waves({37})}).view({-1, 37}).to(type);
    const at::Tensor expected = x.to(at::kDouble) * at::sigmoid(x.to(at::kDouble) * 1.702);
    const at::Tensor found = x.clone();
    detail::quick_gelu_rows(found);
    // Rounding 1.702 x to float32 moves its exponential by a share that grows with x.
    const at::Tensor step = x.to(at::kDouble).abs() * 2e-7 + (type == at::kFloat ? 5e-7 : 4e-3);
    EXPECT_TRUE(((found.to(at::kDouble) - expected).abs() <= expected.abs() * step + 1e-35).all().item<bool>());
  }
  at::Tensor broken = at::full({1, 20}, std::nan(""));
  detail::quick_gelu_rows(broken);
  EXPECT_TRUE(broken.isnan().all().item<bool>());
}

TEST(ClipVision, RefusesImagesOfAnotherSizeOrType) {
  ClipVision encoder(small_clip_config());
  EXPECT_THROW(encoder->encode(at::zeros({1, 3, 32, 32}, at::kByte)), Error);
  EXPECT_THROW(encoder->encode(at::zeros({1, 3, 64, 64})), Error);
  EXPECT_THROW(encoder->forward(at::zeros({3, 64, 64})), Error);
}

}  // namespace
}  // namespace minimind::testing
