#include "minimind/model/layers.h"

#include <ATen/autocast_mode.h>
#include <gtest/gtest.h>

#include <cmath>

#include "minimind/base/error.h"
#include "minimind/model/clip_vision.h"
#include "minimind/model/language_model.h"
#include "model/ops/rope.h"
#include "support/small_model.h"
#include "support/tensor_matcher.h"

namespace minimind::testing {
namespace {

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
    EXPECT_TRUE(is_near(output, expected, type == at::kFloat ? 1e-6 : 0.02));
    EXPECT_TRUE(is_near(ours.grad(), theirs.grad(), tolerance));
    EXPECT_TRUE(is_near(norm->weight.grad(), weight.grad(), tolerance));
  }
}

TEST(RmsNorm, WorksInFloat32OnBfloat16Input) {
  RmsNorm norm(64, 1e-5);
  norm->to(at::kBFloat16);
  const at::Tensor input = (waves({1, 1, 64}) * 200).to(at::kBFloat16);
  const at::Tensor exact = composed_norm(input.to(at::kFloat), at::ones({64}), 1e-5);
  EXPECT_TRUE(is_near(norm->forward(input), exact.to(at::kBFloat16), 1e-9));
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
  EXPECT_TRUE(is_near(output, expected, 1e-5));
  EXPECT_TRUE(is_near(ours.grad(), theirs.grad(), 1e-4));
  EXPECT_TRUE(is_near(layer->w1->weight.grad(), weights[0].grad(), 1e-4));
  EXPECT_TRUE(is_near(layer->w2->weight.grad(), weights[1].grad(), 1e-4));
  EXPECT_TRUE(is_near(layer->w3->weight.grad(), weights[2].grad(), 1e-4));
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
    EXPECT_TRUE(
        is_near(grouped_query_attention(queries, keys, values), attention_by_loops(queries, keys, values), 1e-5));
  }
}

// 5 positions are few enough for the attention weights to be saved; those of 33 are recomputed.
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
      EXPECT_TRUE(is_near(ours[i].grad(), theirs[i].grad(), 1e-4)) << i;
    }
  }
}

TEST(Attention, RefusesAnotherWidthAndAFullCache) {
  const LmConfig config = small_config();
  Attention attention(config);
  const at::Tensor rotations = rope_rotations(config.head_dim(), 4, at::kCPU);
  EXPECT_THROW(attention->forward(at::zeros({1, 2, 31}), rotations.narrow(0, 0, 2)), Error);
  KvCache cache = make_cache(config, 1, 3);
  const at::NoGradGuard without_gradients;
  const at::Tensor hidden = at::zeros({1, 2, 32});
  attention->forward(hidden, rotations.narrow(0, 0, 2), &cache.layers[0]);
  EXPECT_THROW(attention->forward(hidden, rotations.narrow(0, 2, 2), &cache.layers[0]), Error);
  EXPECT_EQ(cache.layers[0].length, 2);
  EXPECT_THROW(attention->forward(at::zeros({2, 1, 32}), rotations.narrow(0, 2, 1), &cache.layers[0]), Error);
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
  ClipVisionOptions options;
  options.mean = {0.5F, 0.25F, 0.1F};
  options.std = {0.5F, 0.2F, 0.3F};
  ClipVision encoder(small_clip_config(), options);
  const at::NoGradGuard without_gradients;
  double phase = 0;
  for (at::Tensor& parameter : encoder->parameters()) {
    parameter.copy_(waves(parameter.sizes().vec(), phase += 0.37) * 0.3);
  }
  const at::Tensor bytes = at::arange(2 * 3 * 64 * 64).remainder(251).to(at::kByte).view({2, 3, 64, 64});
  const at::Tensor mean = at::tensor({0.5f, 0.25f, 0.1f}).view({3, 1, 1});
  const at::Tensor deviation = at::tensor({0.5f, 0.2f, 0.3f}).view({3, 1, 1});
  const at::Tensor pixels = (bytes.to(at::kFloat) / 255 - mean) / deviation;
  EXPECT_TRUE(is_near(encoder->encode(bytes), encoder->forward(pixels), 1e-6));
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

TEST(ClipVision, GivesAnImageTheSameFeaturesInAnyBatch) {
  ClipVisionConfig wide = small_clip_config();  // of the widths of ViT-B/32
  wide.hidden_size = 768;
  wide.intermediate_size = 3072;
  wide.num_attention_heads = 12;
  wide.num_hidden_layers = 1;
  for (const ClipVisionConfig& config : {small_clip_config(), wide}) {
    for (const auto dtype : {at::kFloat, at::kBFloat16}) {
      SCOPED_TRACE(::testing::Message() << config.hidden_size << " " << dtype);
      ClipVisionOptions options;
      options.dtype = dtype;
      ClipVision at_once(config, options);
      options.encode_batch = 4;
      ClipVision in_batches(config, options);
      fill_with_waves(at_once);
      fill_with_waves(in_batches);
      const at::Tensor pixels = waves({11, 3, config.image_size, config.image_size});
      const at::Tensor expected = at_once->forward(pixels), all = in_batches->forward(pixels);
      EXPECT_LE(largest_gap(all, expected) / expected.abs().max().item<double>(), dtype == at::kFloat ? 1e-5 : 2e-2);
      for (const auto& [first, count] : {std::pair<int64_t, int64_t>{0, 1}, {1, 3}, {2, 4}, {3, 7}, {10, 1}}) {
        EXPECT_TRUE(at::equal(in_batches->forward(pixels.narrow(0, first, count)), all.narrow(0, first, count)))
            << first << " " << count;
      }
      EXPECT_EQ(in_batches->forward(pixels.narrow(0, 0, 0)).size(0), 0);
    }
  }
}

TEST(ClipVision, SmallGemmGivesTheFeaturesOfTheFrameworksGemm) {
  const ClipVisionConfig config = small_clip_config();
  ClipVisionOptions options;
  ClipVision plain(config, options);
  fill_with_waves(plain);
  const at::Tensor images =
      at::arange(2 * 3 * 64 * 64, at::kLong).mul(37).remainder(256).to(at::kByte).view({2, 3, 64, 64});
  const at::Tensor expected = plain->encode(images);
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    options.small_gemm = true;
    options.dtype = dtype;
    ClipVision encoder(config, options);
    fill_with_waves(encoder);
    const double gap = largest_gap(encoder->encode(images), expected) / expected.abs().max().item<double>();
    EXPECT_LE(gap, dtype == at::kFloat ? 1e-5 : 0.05);
    EXPECT_TRUE(dtype == at::kFloat || gap > 1e-6) << "the dtype has no effect";
  }
}

/// The features under autocast.
at::Tensor encode_with_autocast(ClipVision& encoder, const at::Tensor& pixels, at::ScalarType dtype) {
  at::autocast::set_autocast_dtype(at::kCPU, dtype);
  at::autocast::set_autocast_enabled(at::kCPU, true);
  const at::Tensor features = encoder->forward(pixels);
  at::autocast::set_autocast_enabled(at::kCPU, false);
  at::autocast::clear_cache();
  return features;
}

TEST(ClipVision, NarrowWeightsGiveTheNumbersOfAutocast) {
  const at::Tensor pixels = waves({3, 3, 64, 64});
  for (const auto dtype : {at::kBFloat16, at::kHalf}) {
    ClipVision encoder(small_clip_config());
    fill_with_waves(encoder);
    const at::Tensor exact = encoder->forward(pixels), expected = encode_with_autocast(encoder, pixels, dtype);
    EXPECT_FALSE(at::equal(exact, expected));
    encoder->keep_matmul_weights_in(dtype);
    int64_t narrow = 0;
    for (const at::Tensor& parameter : encoder->parameters()) {
      narrow += parameter.scalar_type() == dtype;
    }
    EXPECT_EQ(narrow, 1 + 2 * 12);  // the patches, and weight and bias of six matrices in each of two blocks
    EXPECT_TRUE(at::equal(encode_with_autocast(encoder, pixels, dtype), expected)) << dtype;
  }
}

TEST(ClipVision, RefusesImagesOfAnotherSizeOrType) {
  ClipVision encoder(small_clip_config());
  EXPECT_THROW(encoder->encode(at::zeros({1, 3, 32, 32}, at::kByte)), Error);
  EXPECT_THROW(encoder->encode(at::zeros({1, 3, 64, 64})), Error);
  EXPECT_THROW(encoder->forward(at::zeros({3, 64, 64})), Error);
}

}  // namespace
}  // namespace minimind::testing
