#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "io/io_support.h"
#include "minimind/model/weights.h"
#include "support/small_model.h"

namespace minimind::testing {

inline LmConfig model_config() {
  LmConfig config = small_config(80, 24);
  config.hidden_dim = 48;
  return config;
}

inline LmConfig moe_config() {
  LmConfig config = model_config();
  config.use_moe = true;
  config.n_routed_experts = 3;
  return config;
}

inline StateDict renamed(const StateDict& state, const std::function<std::string(const std::string&)>& rename) {
  StateDict result;
  for (const auto& [key, tensor] : state.entries()) {
    if (const std::string name = rename(key); !name.empty()) {
      result.add(name, tensor);
    }
  }
  return result;
}

inline StateDict without(const StateDict& state, const std::string& prefix) {
  return renamed(state, [&](const std::string& key) { return key.starts_with(prefix) ? "" : key; });
}

inline void expect_equal_weights(const VlmImpl& a, const VlmImpl& b) {
  const StateDict left = vlm_state_dict(a), right = vlm_state_dict(b);
  ASSERT_EQ(left.size(), right.size());
  for (const auto& [key, tensor] : left.entries()) {
    EXPECT_TRUE(same_bytes(tensor, *right.find(key))) << key;
  }
}

}  // namespace minimind::testing
