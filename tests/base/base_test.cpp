#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cmath>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <set>

#include "base/json.h"
#include "base/primitive_cache.h"
#include "base/utf8.h"
#include "minimind/base/error.h"
#include "minimind/base/fields.h"
#include "minimind/base/file.h"
#include "minimind/base/image_span.h"
#include "minimind/base/random.h"
#include "support/error_of.h"

namespace minimind {
namespace {

using testing::error_of;

class FileTest : public ::testing::Test {
 protected:
  FileTest() : folder_(fs::temp_directory_path() / concat("minimind_base_", ::getpid())) {
    fs::create_directories(folder_);
  }
  ~FileTest() override { fs::remove_all(folder_); }
  fs::path folder_;
};

TEST_F(FileTest, AtomicFileLeavesTheOldFileWithoutCommit) {
  write_file_atomically(folder_ / "a", "old");
  {
    AtomicFile file(folder_ / "a");
    file.write("new and unfinished");
  }
  EXPECT_EQ(read_file(folder_ / "a"), "old");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()), 1);
}

TEST_F(FileTest, AFullDiskIsAnErrorAndKeepsTheOldFile) {
  write_file_atomically(folder_ / "a", "old");
  // A limit on the file's size stands for the full disk.
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit small = before;
  small.rlim_cur = 4096;
  setrlimit(RLIMIT_FSIZE, &small);
  const std::string message = error_of([&] { write_file_atomically(folder_ / "a", std::string(1 << 20, 'x')); });
  setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_NE(message.find("cannot be written"), std::string::npos) << message;
  EXPECT_EQ(read_file(folder_ / "a"), "old");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()), 1);
}

TEST_F(FileTest, MissingFilesAndFoldersAreNamed) {
  EXPECT_NE(error_of([&] { read_file(folder_ / "none"); }).find("none"), std::string::npos);
  EXPECT_NE(error_of([&] { read_file(folder_); }).find("expected a file"), std::string::npos);
  EXPECT_NE(error_of([&] { MappedFile mapped(folder_ / "none"); }).find("none"), std::string::npos);
  write_file_atomically(folder_ / "file", "x");
  EXPECT_NE(error_of([&] { ensure_writable_folder(folder_ / "file"); }).find("expected a folder"), std::string::npos);
}

TEST_F(FileTest, MappedBytesEqualTheFile) {
  write_file_atomically(folder_ / "a", "bytes");
  EXPECT_EQ(MappedFile(folder_ / "a").bytes(), "bytes");
  write_file_atomically(folder_ / "empty", "");
  EXPECT_TRUE(MappedFile(folder_ / "empty").bytes().empty());
}

TEST_F(FileTest, RefusesToMapAPipeInsteadOfWaitingForItsWriter) {
  ASSERT_EQ(::mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  EXPECT_NE(error_of([&] { MappedFile mapped(folder_ / "pipe"); }).find("found a pipe"), std::string::npos);
}

struct Options {
  int64_t epochs = 19;
  double rate = 1e-4;
  bool flag = false;
  std::string dtype = "float32";
  std::optional<int64_t> hidden;
  std::optional<bool> experts;
  std::vector<std::string> names;
  Fields fields() {
    return {{"epochs", &epochs, "", {}},  {"rate", &rate, "", {}},
            {"flag", &flag, "", {}},      {"dtype", &dtype, "", {"float32", "bfloat16"}},
            {"hidden", &hidden, "", {}},  {"names", &names, "", {}},
            {"experts", &experts, "", {}}};
  }
};

TEST(Fields, ComeBackFromTheirJson) {
  Options written;
  written.epochs = 3, written.rate = 0.1, written.flag = true, written.hidden = 7, written.experts = false,
  written.names = {"a", "b"};
  Options read;
  fields_from_json(read.fields(), fields_to_json(written.fields()), "test");
  EXPECT_EQ(fields_to_json(read.fields()), fields_to_json(written.fields()));
}

TEST(Fields, RefuseWhatDoesNotFit) {
  Options options;
  const auto message = [&](const std::string& json) {
    return error_of([&] { fields_from_json(options.fields(), json, "c.json", {"known"}); });
  };
  EXPECT_NE(message("{\n  \"epochs\": ,}").find("line 2, column 13"), std::string::npos)
      << message("{\n  \"epochs\": ,}");
  EXPECT_NE(message(R"({"epoch": 1})").find("was \"epochs\" meant"), std::string::npos);
  EXPECT_NE(message(R"({"epochs": "x"})").find("expected a whole number"), std::string::npos);
  EXPECT_NE(message(R"({"epochs": 1.5})").find("expected a whole number"), std::string::npos);
  EXPECT_NE(message(R"({"epochs": 1e300})").find("expected a whole number"), std::string::npos);
  EXPECT_NE(message(R"({"dtype": "int4"})").find("float32, bfloat16"), std::string::npos);
  EXPECT_NE(message(R"({"experts": 1})").find("expected true, false or null"), std::string::npos);
  EXPECT_NE(message("[]").find("expected a JSON object"), std::string::npos);
  EXPECT_EQ(message(R"({"known": 1, "hidden": null})"), "");
}

TEST(Fields, RequireNumbersInTheirRange) {
  EXPECT_NO_THROW(require_flag_at_least("epochs", int64_t{1}, 1));
  EXPECT_NO_THROW(require_flag_at_least("grad_clip", 0.0, 0.0));
  EXPECT_EQ(error_of([] { require_flag_at_least("epochs", int64_t{0}, 1); }), "--epochs: expected 1 or more, found 0");
  EXPECT_EQ(error_of([] { require_flag_at_least("grad_clip", -0.5, 0); }),
            "--grad_clip: expected 0 or more, found -0.5");
  EXPECT_THROW(require_flag_at_least("grad_clip", std::nan(""), 0), UsageError);
  EXPECT_EQ(error_of([] { require_flag_between("port", 70000, 0, 65535); }),
            "--port: expected 0 to 65535, found 70000");
}

TEST(Random, SameSeedSameNumbersAndStreamsDiffer) {
  Random a(1337);
  Random b(1337);
  Random c(1337, 1);
  EXPECT_EQ(a.next(), b.next());
  EXPECT_NE(a.next(), c.next());
  // The generator's numbers are part of the file formats' promise (data order, sample images).
  EXPECT_EQ(Random(0).next(), 11091344671253066420ULL);
}

TEST(Random, BelowIsUniformEnough) {
  Random random(5);
  std::vector<int> counts(7);
  for (int i = 0; i < 70000; ++i) {
    ++counts[random.below(7)];
  }
  for (int count : counts) {
    EXPECT_NEAR(count, 10000, 500);
  }
}

TEST(ImageSpans, AreFullMatchesFromTheLeft) {
  const std::vector<TokenId> pattern = {3, 3, 4, 4};
  const std::vector<TokenId> ids = {3, 3, 3, 4, 4, 4, 3, 3, 4, 4, 3, 3, 4};
  EXPECT_EQ(find_image_spans(std::span<const TokenId>(ids), pattern), (std::vector<int64_t>{1, 6}));
  EXPECT_TRUE(find_image_spans(std::span<const TokenId>(ids), {}).empty());
}

TEST(Utf8, RepairsAsPythonDoes) {
  EXPECT_EQ(repair_utf8("a\xE4\xBD\xA0z"), "a\xE4\xBD\xA0z");
  EXPECT_EQ(repair_utf8("\xE4\xBDz"), "\xEF\xBF\xBDz");                            // one maximal part
  EXPECT_EQ(repair_utf8("\xED\xA0\x80"), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");  // a surrogate: three
  EXPECT_EQ(repair_utf8("\xF0\x9F\x98"), "\xEF\xBF\xBD");
  EXPECT_EQ(repair_utf8("\xC0\x80"), "\xEF\xBF\xBD\xEF\xBF\xBD");
}

TEST(KeptProducts, AreFewUnlessTheUserSaysOtherwise) {
  ::setenv("LRU_CACHE_CAPACITY", "7", 1);
  ::unsetenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY");
  limit_primitive_cache();
  EXPECT_STREQ(std::getenv("LRU_CACHE_CAPACITY"), "7");
  EXPECT_STREQ(std::getenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY"), "64");
}

TEST(Utf8, ShowsControlCharactersAsEscapes) {
  EXPECT_EQ(printable("\x1b]0;t\a\n\t\x7f\u0085"), R"(\u001b]0;t\u0007\u000a\u0009\u007f\u0085)");
  EXPECT_EQ(printable("a\u202eb\u2066c\u2028"), R"(a\u202eb\u2066c\u2028)") << "what turns or breaks the line";
  EXPECT_EQ(printable("\u200e\u061c\u200d"), "\\u200e\\u061c\u200d") << "a joiner is part of its word";
  EXPECT_EQ(printable("café 你好 😀 a\\b"), "café 你好 😀 a\\b");
  EXPECT_EQ(printable("a\xff"), "a\uFFFD");
}

TEST(Utf8, HoldsBackOnlyWhatMayBecomeACharacter) {
  EXPECT_EQ(complete_utf8_prefix("ab\xE4\xBD"), 2U);
  EXPECT_EQ(complete_utf8_prefix("ab\xE4\xBD\xA0"), 5U);
  EXPECT_EQ(complete_utf8_prefix("\xF0\x9F\x98"), 0U);
  EXPECT_EQ(complete_utf8_prefix("\x80"), 1U);
  EXPECT_EQ(complete_utf8_prefix("\xE0\x80"), 2U);  // can no longer become one
}

TEST(JsonGuard, RefusesWhatWouldCostManyTimesItsSize) {
  const auto message = [](const std::string& text, const JsonLimits& limits) {
    try {
      check_json_limits(text, "x.json", limits);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(message(R"({"a": [[1], [2]], "b[[[[": "]\"[[[["})", {1000, 3}), "");
  EXPECT_NE(message("[[[[1]]]]", {1000, 3}).find("x.json: expected JSON nested at most 3 deep, found more at byte 3"),
            std::string::npos);
  EXPECT_NE(message("[1234]", {5, 3}).find("at most 5 bytes, found 6"), std::string::npos);
  EXPECT_EQ(message("]]]][[[", {1000, 3}), "");
  EXPECT_EQ(message(R"([1, "a,b,c", {}])", {1000, 3, 4}), "");
  EXPECT_NE(message("[1,2,3,4]", {1000, 3, 3}).find("x.json: expected JSON of at most 3 values"), std::string::npos);
  EXPECT_EQ(message("\"\\", {1000, 3}), "");
  EXPECT_THROW(fields_from_json({}, std::string(1 << 20, '['), "deep.json"), Error);
}

}  // namespace
}  // namespace minimind
