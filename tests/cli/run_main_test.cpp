#include "minimind/cli/run_main.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "minimind/base/error.h"
#include "minimind/version.h"

namespace minimind {
namespace {

struct Options {
  int64_t epochs = 19;
  double learning_rate = 4e-4;
  bool multi = false;
  std::string dtype = "float32";
  std::optional<int64_t> hidden_dim;
  std::vector<std::string> image;
  std::string resume = "none";
  double beta2 = 0.5;

  Fields fields() {
    return {{"epochs", &epochs, "passes over the data", {}},
            {"learning_rate", &learning_rate, "highest learning rate", {}},
            {"multi", &multi, "several images a sample", {}},
            {"dtype", &dtype, "number format", {"float32", "bfloat16"}},
            {"hidden_dim", &hidden_dim, "inner width", {}},
            {"image", &image, "pictures", {}},
            {"resume", &resume, "where to go on", {}},
            {.name = "beta2", .value = &beta2, .help = "decay rate", .in_help = false}};
  }
};

struct Outcome {
  int code = -1;
  bool body_ran = false;
  std::string out;
  std::string err;
  Options options;
};

Outcome run_with(
    const std::vector<std::string>& arguments, const std::function<int()>& body = [] { return 0; }) {
  Outcome outcome;
  std::vector<const char*> argv = {"program"};
  for (const std::string& argument : arguments) {
    argv.push_back(argument.c_str());
  }
  CommandLine command_line{"A test.", {{"Options", outcome.options.fields()}}, "", {{"resume", "auto"}}, nullptr};
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  outcome.code = run_main(static_cast<int>(argv.size()), argv.data(), command_line, [&] {
    outcome.body_ran = true;
    return body();
  });
  outcome.out = testing::internal::GetCapturedStdout();
  outcome.err = testing::internal::GetCapturedStderr();
  return outcome;
}

/// A file in the temporary folder that goes away with the object.
struct TemporaryFile {
  explicit TemporaryFile(const std::string& content)
      : path(std::filesystem::path(testing::TempDir()) / "run_main_test_config.json") {
    std::ofstream(path) << content;
  }
  ~TemporaryFile() { std::filesystem::remove(path); }
  std::filesystem::path path;
};

TEST(RunMain, KeepsDefaultsWithoutFlags) {
  const Outcome outcome = run_with({});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_TRUE(outcome.body_ran);
  EXPECT_EQ(outcome.options.epochs, 19);
}

TEST(RunMain, SetsEveryKindOfField) {
  const Outcome outcome = run_with({"--epochs", "3", "--learning_rate=1e-6", "--dtype", "bfloat16", "--hidden_dim",
                                    "96", "--image", "a.jpg", "b.jpg", "--image", "c.jpg"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.options.epochs, 3);
  EXPECT_EQ(outcome.options.learning_rate, 1e-6);
  EXPECT_EQ(outcome.options.dtype, "bfloat16");
  EXPECT_EQ(outcome.options.hidden_dim, 96);
  EXPECT_EQ(outcome.options.image, (std::vector<std::string>{"a.jpg", "b.jpg", "c.jpg"}));
}

TEST(RunMain, TakesABoolAloneAndWithAValue) {
  EXPECT_TRUE(run_with({"--multi"}).options.multi);
  EXPECT_TRUE(run_with({"--multi", "True"}).options.multi);
  EXPECT_TRUE(run_with({"--multi", "--epochs", "2"}).options.multi);
  EXPECT_FALSE(run_with({"--multi", "False"}).options.multi);
  EXPECT_FALSE(run_with({"--multi=false"}).options.multi);
  EXPECT_EQ(run_with({"--multi", "perhaps"}).code, 2);
}

TEST(RunMain, LetsAMarkedStringStandAlone) {
  EXPECT_EQ(run_with({}).options.resume, "none");
  EXPECT_EQ(run_with({"--resume"}).options.resume, "auto");
  EXPECT_EQ(run_with({"--resume", "--epochs", "2"}).options.resume, "auto");
  EXPECT_EQ(run_with({"--resume", "out/x"}).options.resume, "out/x");
  EXPECT_EQ(run_with({"--dtype"}).code, 2);
}

TEST(RunMain, NamesTheNearestFlagForAnUnknownOne) {
  const Outcome outcome = run_with({"--epoch", "3"});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_FALSE(outcome.body_ran);
  EXPECT_NE(outcome.err.find("--epoch"), std::string::npos);
  EXPECT_NE(outcome.err.find("did you mean --epochs?"), std::string::npos) << outcome.err;
}

TEST(RunMain, RefusesWrongValuesAsUsageErrors) {
  EXPECT_EQ(run_with({"--epochs", "three"}).code, 2);
  EXPECT_EQ(run_with({"--epochs", "3.5"}).code, 2);
  EXPECT_EQ(run_with({"--epochs"}).code, 2);
  EXPECT_EQ(run_with({"--epochs", "99999999999999999999"}).code, 2);
  EXPECT_EQ(run_with({"--learning_rate", "nan"}).code, 2);
  EXPECT_EQ(run_with({"image.jpg"}).code, 2);
  const Outcome outcome = run_with({"--dtype", "float8"});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_NE(outcome.err.find("float32, bfloat16"), std::string::npos) << outcome.err;
}

TEST(RunMain, LetsFlagsOverrideTheConfigFile) {
  const TemporaryFile file(R"({"epochs": 5, "learning_rate": 0.25})");
  const Outcome outcome = run_with({"--epochs", "7", "--config", file.path.string()});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.options.epochs, 7);
  EXPECT_EQ(outcome.options.learning_rate, 0.25);
}

TEST(RunMain, RefusesUnknownKeysOfTheConfigFile) {
  const TemporaryFile file(R"({"epoch": 5})");
  const Outcome outcome = run_with({"--config", file.path.string()});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_FALSE(outcome.body_ran);
  EXPECT_NE(outcome.err.find("epochs"), std::string::npos) << outcome.err;
}

TEST(RunMain, PrintsAConfigThatReadsBackEqual) {
  const Outcome printed = run_with({"--epochs", "4", "--image", "x y.jpg", "--print_config"});
  ASSERT_EQ(printed.code, 0);
  EXPECT_FALSE(printed.body_ran);
  const TemporaryFile file(printed.out);
  const Outcome read = run_with({"--config", file.path.string()});
  ASSERT_EQ(read.code, 0) << read.err;
  EXPECT_EQ(read.options.epochs, 4);
  EXPECT_EQ(read.options.image, (std::vector<std::string>{"x y.jpg"}));
}

TEST(RunMain, ShowsEveryFlagWithItsDefaultInHelp) {
  const Outcome outcome = run_with({"--help"});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_FALSE(outcome.body_ran);
  for (const char* part : {"--epochs", "19", "--learning_rate", "0.0004", "--multi", "false", "--config",
                           "--print_config", "{float32,bfloat16}"}) {
    EXPECT_NE(outcome.out.find(part), std::string::npos) << part << "\n" << outcome.out;
  }
}

TEST(RunMain, ShowsFieldsOutsideHelpInHelpAllOnly) {
  EXPECT_EQ(run_with({"--beta2", "0.25"}).options.beta2, 0.25);
  EXPECT_EQ(run_with({"--help"}).out.find("beta2"), std::string::npos);
  const Outcome outcome = run_with({"--help_all"});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_FALSE(outcome.body_ran);
  EXPECT_NE(outcome.out.find("--beta2 FLOAT"), std::string::npos) << outcome.out;
  EXPECT_NE(outcome.out.find("--epochs INT"), std::string::npos) << outcome.out;
}

TEST(RunMain, PrintsTheVersion) {
  const Outcome outcome = run_with({"--version"});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_FALSE(outcome.body_ran);
  EXPECT_EQ(outcome.out, "MiniMind-V " MINIMIND_VERSION "\n");
}

TEST(RunMain, MapsExceptionsToExitCodes) {
  const Outcome error = run_with({}, []() -> int { throw Error("out/512_llm.pth: not found"); });
  EXPECT_EQ(error.code, 1);
  EXPECT_EQ(error.err, "error: out/512_llm.pth: not found\n");
  EXPECT_EQ(run_with({}, []() -> int { throw UsageError("--a needs --b"); }).code, 2);
  const Outcome bug = run_with({}, []() -> int { throw std::logic_error("shape\nbacktrace"); });
  EXPECT_EQ(bug.code, 1);
  EXPECT_EQ(bug.err.find("backtrace"), std::string::npos);
  EXPECT_EQ(run_with({}, [] { return 5; }).code, 5);
}

}  // namespace
}  // namespace minimind
