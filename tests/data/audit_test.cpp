#include "data/audit.h"

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "data_support.h"
#include "minimind/data/loader.h"

namespace minimind::testing {

namespace {

std::string audit_sample(const std::string& id, const std::string& image, const std::string& question,
                         const std::string& answer) {
  return R"({"id": ")" + id + R"(", "image": ")" + image + R"(", "conversations": [{"value": ")" + question +
         R"("}, {"value": ")" + answer + "\"}]}";
}

}  // namespace

TEST(Audit, FindsEveryKindOfProblemOnce) {
  TemporaryFolder folder;
  const std::string long_text(200, 'x');
  const std::vector<std::string> samples = {
      audit_sample("good", "a.jpg", "<image>?", "yes"),
      audit_sample("missing", "none.jpg", "<image>?", "yes"),
      audit_sample("corrupt", "bad.jpg", "<image>?", "yes"),
      audit_sample("marks", "a.jpg", "?", "yes"),
      audit_sample("cut", "a.jpg", long_text + "<image>", "yes"),
      audit_sample("no_turn", "a.jpg", "<image>", ""),
      audit_sample("no_marker", "a.jpg", "<image>" + long_text, "yes"),
      // <s>user\n, span, 73 bytes, </s>\n, <s>assistant: 100 tokens
      audit_sample("nothing", "a.jpg", "<image>" + std::string(76, 'q'), "yes"),
      audit_sample("good", "b.jpg", "<image>", long_text),
      audit_sample("text", "", "hello", "world"),
      audit_sample("both", "none.jpg", "??", "yes"),
      audit_sample("\\u001b]0;t\\u0007", "\\u001b[31mred.jpg", "<image>?", "yes"),
      R"({"id": "shape", "image": "a.jpg", "conversations": [{"value": "<image>?"}, {"value": null}]})",
  };
  std::string json = "[";
  for (const auto& sample : samples) {
    json += (json.size() > 1 ? ",\n" : "") + sample;
  }
  const auto path = write_bytes(folder / "data.json", json + "]");
  write_bytes(folder / "images/a.jpg", make_jpeg(1));
  write_bytes(folder / "images/b.jpg", make_jpeg(2));
  write_bytes(folder / "images/bad.jpg", make_jpeg(3).substr(0, 30));
  const ByteTokenizer tokenizer;
  const ImagePattern pattern = make_image_pattern(tokenizer, "<<<>>>", 6);
  const Dataset data = Dataset::load(path, DataKind::kPretrain);
  const auto images = open_image_source(folder / "images");
  for (const int64_t workers : {0, 1, 3}) {
    LoaderOptions options;
    options.max_seq_len = 100;
    options.num_workers = workers;
    options.batch_size = 2;
    const LoaderInput input{data, DataKind::kPretrain, tokenizer, pattern, *images, nullptr};
    const AuditReport report = audit_data(input, options, "data.json");
    std::map<std::string, std::vector<std::string>> found;
    for (const auto& finding : report.findings) {
      found[problem_name(finding.problem)].push_back(finding.id);
      EXPECT_EQ(data.id(finding.position), finding.id);
      EXPECT_FALSE(finding.detail.empty());
    }
    const std::map<std::string, std::vector<std::string>> expected = {
        {"wrong_shape", {"shape"}},
        {"missing_picture", {"missing", "both", "\x1b]0;t\a"}},
        {"corrupt_picture", {"corrupt"}},
        {"marks_against_pictures", {"marks", "both"}},
        {"slot_cut", {"cut"}},
        {"no_turn", {"no_turn"}},
        {"no_marker", {"no_marker"}},
        {"nothing_supervised", {"nothing"}},
        {"duplicate_id", {"good"}}};
    EXPECT_EQ(found, expected);
    EXPECT_EQ(report.samples, 13);
    EXPECT_EQ(report.usable, 3);
    EXPECT_EQ(report.images, 5);
    EXPECT_EQ(report.truncated, 1);
    EXPECT_EQ(report.count(SampleProblem::kPlaceholdersAgainstImages), 2);
    int64_t binned = 0;
    for (const auto& bin : report.histogram) {
      binned += bin.count;
    }
    EXPECT_EQ(binned, 3);

    // The loader skips the same ones.
    Loader loader(input, options);
    loader.start_epoch(0);
    int64_t rows = 0;
    int64_t tokens = 0;
    int64_t supervised = 0;
    int64_t positions = 0;
    while (const auto batch = loader.next()) {
      rows += batch->samples();
      tokens += batch->tokens;
      supervised += batch->supervised_tokens;
      positions += batch->ids.defined() ? batch->ids.numel() : 0;
    }
    EXPECT_EQ(rows, report.usable);
    EXPECT_EQ(tokens, report.tokens);
    EXPECT_EQ(supervised, report.supervised_tokens);
    EXPECT_NEAR(1.0 - static_cast<double>(tokens) / static_cast<double>(positions), report.padding_share, 1e-12);

    const auto parsed = nlohmann::json::parse(report.json());
    EXPECT_EQ(parsed.at("samples"), 13);
    EXPECT_EQ(parsed.at("counts").at("corrupt_picture"), 1);
    EXPECT_EQ(parsed.at("findings").at("slot_cut").at(0).at("id"), "cut");
    EXPECT_TRUE(parsed.at("findings").at("bad_sample").empty());
    const std::string summary = report.summary();
    EXPECT_NE(summary.find("13 samples, 3 usable (23.08 %)"), std::string::npos) << summary;
    EXPECT_NE(summary.find("'cut' (position 4): truncation to 100 of"), std::string::npos) << summary;
    EXPECT_NE(summary.find(R"('\u001b]0;t\u0007' (position 11): image \u001b[31mred.jpg not found)"), std::string::npos)
        << summary;
    if (workers == 0) {
      std::cout << summary;
    }
  }
}

TEST(Audit, SaysThatNoProblemWasFound) {
  TemporaryFolder folder;
  const auto path = write_bytes(folder / "data.json", "[" + audit_sample("a", "1.jpg", "<image>?", "yes") + "]");
  write_bytes(folder / "images/COCO_1.jpg", make_jpeg(1));
  const ByteTokenizer tokenizer;
  const ImagePattern pattern = make_image_pattern(tokenizer, "<<<>>>", 6);
  const Dataset data = Dataset::load(path, DataKind::kInstruction);
  const auto images = open_image_source(folder / "images");
  LoaderOptions options;
  options.instruction_prefix = "COCO_";
  const AuditReport report =
      audit_data({data, DataKind::kInstruction, tokenizer, pattern, *images, nullptr}, options, "d");
  EXPECT_EQ(report.usable, 1);
  EXPECT_TRUE(report.findings.empty());
  EXPECT_NE(report.summary().find("no problem found"), std::string::npos);
  EXPECT_DOUBLE_EQ(report.padding_share, 0);
}

}  // namespace minimind::testing
