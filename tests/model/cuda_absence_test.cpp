#include "model/cuda_absence.h"

#include <gtest/gtest.h>

#include <string>

namespace minimind {
namespace {

struct Case {
  const char* name;
  CudaFacts facts;
  const char* absence;  ///< a part of the text; "": there is no absence
  bool warns;           ///< whether --device auto warns
};

// built_with_cuda, driver_found, driver_version, runtime_version, card_count, visible_devices
const Case kCases[] = {
    {"a card", {true, true, 13000, 13000, 1, std::nullopt}, "", false},
    {"a card that the user chose", {true, true, 13000, 13000, 1, "3"}, "", false},
    {"a laptop", {false, false, 0, 0, 0, std::nullopt}, "found a build without CUDA", false},
    {"a CPU build beside a driver", {false, true, 12020, 0, 0, std::nullopt}, "found a build without CUDA", true},
    {"a CPU build, cards hidden", {false, true, 12020, 0, 0, ""}, "found a build without CUDA", true},
    {"no driver", {true, false, 0, 13000, 0, std::nullopt}, "found no NVIDIA driver (libcuda.so.1)", false},
    {"an old driver",
     {true, true, 12040, 13000, 0, std::nullopt},
     "found a driver for CUDA 12.4, and LibTorch needs CUDA 13.0",
     true},
    {"an old driver, cards hidden", {true, true, 12040, 13000, 0, ""}, "found a driver for CUDA 12.4", true},
    {"an earlier minor version serves", {true, true, 12020, 12060, 0, std::nullopt}, "no card that it can use", true},
    {"a driver that does not tell its version", {true, true, 0, 13000, 0, std::nullopt}, "no card that it", true},
    {"a driver without a card", {true, true, 13000, 13000, 0, std::nullopt}, "found a driver, but no card", true},
    {"cards hidden", {true, true, 13000, 13000, 0, ""}, "CUDA_VISIBLE_DEVICES='' shows", false},
    {"a card that is not there", {true, true, 13000, 13000, 0, "8"}, "CUDA_VISIBLE_DEVICES='8' shows", false},
};

TEST(CudaAbsence, NamesOneCauseAndWarnsWhereADriverServesNoCard) {
  for (const Case& one : kCases) {
    const std::string absence = cuda_absence(one.facts);
    const std::string warning = unused_card_warning(one.facts);
    EXPECT_NE(absence.find(one.absence), std::string::npos) << one.name << ": " << absence;
    EXPECT_EQ(absence.empty(), *one.absence == '\0') << one.name << ": " << absence;
    EXPECT_EQ(!warning.empty(), one.warns) << one.name << ": " << warning;
    EXPECT_TRUE(warning.empty() || warning.find(one.absence) != std::string::npos) << one.name << ": " << warning;
  }
}

TEST(CudaAbsence, KnowsTheFactsOfThisProcess) {
  const CudaFacts facts = cuda_facts(0);
#ifdef MINIMIND_WITH_CUDA
  EXPECT_TRUE(facts.built_with_cuda);
  EXPECT_GE(facts.runtime_version, 12000);
#else
  EXPECT_FALSE(facts.built_with_cuda);
#endif
  EXPECT_EQ(facts.card_count, 0);
  EXPECT_FALSE(cuda_absence(facts).empty());
  EXPECT_EQ(cuda_absence(cuda_facts(1)), "");
}

}  // namespace
}  // namespace minimind
