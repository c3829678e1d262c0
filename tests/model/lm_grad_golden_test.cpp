#include <cmath>
#include <map>
#include <numbers>

#include "model/golden_model.h"
#include "support/model_losses.h"

namespace minimind::testing {
namespace {

using Gradients = std::map<std::string, at::Tensor>;

/// Gradients of the masked loss of a case in training mode; a parameter without one has zeros.
std::pair<double, Gradients> case_gradients(const GoldenModel& golden, const std::string& name) {
  golden.model->train();
  golden.model->zero_grad();
  const MaskedLoss loss = training_loss(*golden.model, golden_case_input(golden, name), golden.tensor(name + ".Y"),
                                        golden.tensor(name + ".loss_mask"));
  mean_of(loss).backward();
  Gradients gradients;
  for (const auto& named : golden.model->named_parameters()) {
    gradients[named.key()] = named.value().grad().defined() ? named.value().grad() : at::zeros_like(named.value());
  }
  return {mean_of(loss).item<double>(), std::move(gradients)};
}

double total_norm(const Gradients& gradients) {
  double sum = 0;
  for (const auto& [name, gradient] : gradients) {
    sum += gradient.square().sum(at::kDouble).item<double>();
  }
  return std::sqrt(sum);
}

/// Whether a manifest key such as grad_train12 means steps of Adam; `grad` and `grad_fp32buffer` mean gradients.
bool is_adam_key(const std::string& key) {
  return std::regex_search(key, std::regex("_train[0-9]+$"));
}
bool is_gradient_key(const std::string& key) {
  return key.starts_with("grad") && !is_adam_key(key);
}

void check_gradients(const GoldenModel& golden, const std::string& key, const std::string& name) {
  SCOPED_TRACE(golden.name + " " + key + " " + name);
  const nlohmann::json& facts = golden.manifest.at(key).at(name);
  const auto [loss, gradients] = case_gradients(golden, name);
  const auto near = [](double ours, double expected, const std::string& what) {
    EXPECT_NEAR(ours, expected, kGoldenTolerance * std::abs(expected)) << what;
  };
  near(loss, facts.at("loss").get<double>(), "loss");
  near(total_norm(gradients), facts.at("total_grad_norm").get<double>(), "total norm");
  EXPECT_EQ(gradients.size(), facts.at("grad_norms").size());
  for (const auto& [parameter, norm] : facts.at("grad_norms").items()) {
    near(gradients.at(parameter).norm().item<double>(), norm.get<double>(), parameter);
  }
  const std::string prefix = key + "_" + name + ".";
  for (const auto& [tensor_key, expected] : golden.tensors.entries()) {
    if (!tensor_key.starts_with(prefix) || tensor_key == prefix + "tied_embedding_rows") {
      continue;
    }
    const std::string parameter = tensor_key.substr(prefix.size());
    const at::Tensor ours =
        parameter == "tied_embedding_grad_rows"
            ? gradients.at("tok_embeddings.weight").index_select(0, golden.tensor(prefix + "tied_embedding_rows"))
            : gradients.at(parameter == "output.weight" ? "tok_embeddings.weight" : parameter);
    EXPECT_LE(relative_error(ours, expected), kGoldenTolerance) << parameter;
  }
}

TEST(GoldenLmGrad, GradientsOfEveryCaseAgree) {
  MINIMIND_REQUIRE_FIXTURES();
  size_t ran = 0, total = 0;
  for (const GoldenModel& golden : golden_models()) {
    for (const auto& [key, cases] : golden.manifest.items()) {
      if (!is_gradient_key(key)) {
        continue;
      }
      total += cases.size();
      for (const auto& [name, facts] : cases.items()) {
        check_gradients(golden, key, name);
        ++ran;
      }
    }
  }
  golden_ran("lm_grad", ran, total);
}

/// Adam as the original uses it: betas 0.9 and 0.999, eps 1e-8, no weight decay.
class PlainAdam {
 public:
  void step(const std::string& name, at::Tensor parameter, const at::Tensor& gradient, double rate, int64_t count) {
    const at::NoGradGuard without_gradients;
    auto& [mean, square] = moments_[name];
    if (!mean.defined()) {
      mean = at::zeros_like(parameter);
      square = at::zeros_like(parameter);
    }
    mean.mul_(0.9).add_(gradient, 0.1);
    square.mul_(0.999).addcmul_(gradient, gradient, 0.001);
    const double correction = std::sqrt(1 - std::pow(0.999, static_cast<double>(count)));
    const at::Tensor scale = square.sqrt().div_(correction).add_(1e-8);
    parameter.addcdiv_(mean, scale, -rate / (1 - std::pow(0.9, static_cast<double>(count))));
  }

 private:
  std::map<std::string, std::pair<at::Tensor, at::Tensor>> moments_;
};

void check_adam(GoldenModel& golden, const std::string& key) {
  SCOPED_TRACE(golden.name + " " + key);
  load_golden_weights(golden);
  const nlohmann::json& steps = golden.manifest.at(key);
  const double peak = steps.at(0).at("lr").get<double>(), floor = peak / 10;
  PlainAdam adam;
  for (size_t step = 0; step < steps.size(); ++step) {
    const nlohmann::json& facts = steps.at(step);
    const double phase = std::numbers::pi * static_cast<double>(step) / static_cast<double>(steps.size());
    const double rate = floor + 0.5 * (1 + std::cos(phase)) * (peak - floor);
    EXPECT_NEAR(rate, facts.at("lr").get<double>(), 1e-9);
    const auto [loss, gradients] = case_gradients(golden, "one_image");
    const double norm = total_norm(gradients);
    EXPECT_NEAR(loss, facts.at("loss").get<double>(), kGoldenTolerance * loss) << "step " << step;
    EXPECT_NEAR(norm, facts.at("grad_norm_before_clip").get<double>(), kGoldenTolerance * norm) << "step " << step;
    const double clip = std::min(1.0, 1.0 / (norm + 1e-6));
    for (const auto& named : golden.model->named_parameters()) {
      adam.step(named.key(), named.value(), gradients.at(named.key()) * clip, rate, static_cast<int64_t>(step) + 1);
    }
  }
  const auto parameters = golden.model->named_parameters();
  const std::string prefix = key + "_final.";
  for (const auto& [tensor_key, expected] : golden.tensors.entries()) {
    if (tensor_key.starts_with(prefix)) {
      const std::string parameter = tensor_key.substr(prefix.size());
      EXPECT_LE(
          relative_error(parameters[parameter == "output.weight" ? "tok_embeddings.weight" : parameter], expected),
          kGoldenTolerance)
          << parameter;
    }
  }
}

TEST(GoldenLmAdam, StepsOfAdamAgree) {
  MINIMIND_REQUIRE_FIXTURES();
  size_t ran = 0, total = 0;
  for (GoldenModel& golden : golden_models()) {
    for (const auto& [key, steps] : golden.manifest.items()) {
      if (key.starts_with("grad") && is_adam_key(key)) {
        ++total;
        check_adam(golden, key);
        ++ran;
      }
    }
  }
  golden_ran("lm_adam", ran, total);
}

}  // namespace
}  // namespace minimind::testing
