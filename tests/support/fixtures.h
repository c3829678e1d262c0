#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>

/// Golden data of the tests: where it lies, what to do without it, and the line that counts the cases.
namespace minimind::testing {

/// Whether the environment names the folder; it must then exist.
inline bool fixtures_demanded() {
  const char* named = std::getenv("MINIMIND_FIXTURES");
  return named != nullptr && *named != '\0';
}

/// The folder of golden data: MINIMIND_FIXTURES, else shared/fixtures/upstream beside the checkout.
inline std::filesystem::path fixtures_dir() {
  if (fixtures_demanded()) {
    return std::getenv("MINIMIND_FIXTURES");
  }
  return std::filesystem::path(MINIMIND_SOURCE_DIR) / ".." / "shared" / "fixtures" / "upstream";
}

inline bool fixtures_present() {
  return std::filesystem::exists(fixtures_dir() / "manifest.json");
}

/// A JSON file; the exception of a missing or malformed one names it.
inline nlohmann::json read_json(const std::filesystem::path& path) {
  std::ifstream file(path);
  if (!file) {
    throw std::runtime_error(path.string() + ": cannot be opened");
  }
  try {
    return nlohmann::json::parse(file);
  } catch (const nlohmann::json::exception& error) {
    throw std::runtime_error(path.string() + ": " + error.what());
  }
}

inline nlohmann::json fixtures_manifest() {
  return read_json(fixtures_dir() / "manifest.json");
}

/// Prints `golden KIND: ran N of N` and fails unless every case ran and there was one at all.
inline void golden_ran(std::string_view kind, size_t ran, size_t total) {
  std::cout << "golden " << kind << ": ran " << ran << " of " << total << std::endl;
  EXPECT_GT(total, 0U) << "no golden case of kind " << kind << " found in " << fixtures_dir();
  EXPECT_EQ(ran, total) << "golden cases of kind " << kind << " were left out";
}

}  // namespace minimind::testing

/// At the head of a test that needs the golden folder: skips without it, fails if MINIMIND_FIXTURES names a folder that
/// holds no manifest.
#define MINIMIND_REQUIRE_FIXTURES()                                                                 \
  do {                                                                                              \
    if (!::minimind::testing::fixtures_present()) {                                                 \
      if (::minimind::testing::fixtures_demanded()) {                                               \
        FAIL() << "MINIMIND_FIXTURES: no manifest.json in " << ::minimind::testing::fixtures_dir(); \
      }                                                                                             \
      GTEST_SKIP() << "NOT RUN: no golden data in " << ::minimind::testing::fixtures_dir()          \
                   << "; set MINIMIND_FIXTURES";                                                    \
    }                                                                                               \
  } while (false)
