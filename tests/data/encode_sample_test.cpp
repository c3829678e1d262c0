#include "minimind/data/encode_sample.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>
#include <string>
#include <vector>

#include "data_support.h"
#include "minimind/text/load_tokenizer.h"
#include "support/fixtures.h"

namespace minimind::testing {

namespace {

// Of the byte tokenizer: 6 vision tokens.
const std::string kPatternText = "<<<>>>";

class EncodeSample : public ::testing::Test {
 protected:
  EncodedSample encode(const Sample& sample, int64_t max_seq_len = 512,
                       Supervision supervision = Supervision::kLastAnswer) {
    return encode_sample(sample, {tokenizer_, pattern_, max_seq_len, supervision});
  }
  ByteTokenizer tokenizer_;
  ImagePattern pattern_ = make_image_pattern(tokenizer_, kPatternText, 6);
};

DataKind kind_named(const std::string& name) {
  if (name == "pretrain") {
    return DataKind::kPretrain;
  }
  if (name == "sft") {
    return DataKind::kInstruction;
  }
  if (name == "multi") {
    return DataKind::kMultiImage;
  }
  throw std::runtime_error("unknown kind of train sample: " + name);
}

}  // namespace

TEST_F(EncodeSample, SupervisesTheLastAnswerAndFindsTheImageSpans) {
  const EncodedSample encoded = encode({"x", {"a", "b"}, {{"<image>\n<image>?", "yes"}, {"more", "no!"}}});
  EXPECT_EQ(encoded.problem, SampleProblem::kNone) << encoded.reason;
  const std::string before = "*user\n";  // one id for <s>
  ASSERT_EQ(encoded.spans, (std::vector<int64_t>{6, 13}));
  EXPECT_TRUE(std::equal(pattern_.ids.begin(), pattern_.ids.end(), encoded.ids.begin() + 13));
  // newline, answer, </s>, newline
  EXPECT_EQ(encoded.supervised, 1 + 3 + 1 + 1);
  EXPECT_EQ(encoded.full_length, std::ssize(encoded.ids));
  EXPECT_EQ(std::count(encoded.mask.end() - 6, encoded.mask.end(), 1), 6);
  const EncodedSample all =
      encode({"x", {"a", "b"}, {{"<image>\n<image>?", "yes"}, {"more", "no!"}}}, 512, Supervision::kAllAnswers);
  EXPECT_EQ(all.supervised, 12);
}

TEST_F(EncodeSample, NamesEveryProblem) {
  const Sample plain{"x", {"a"}, {{"<image>?", "answer"}}};
  const EncodedSample whole = encode(plain);
  ASSERT_EQ(whole.problem, SampleProblem::kNone);
  const int64_t length = whole.full_length;
  EXPECT_EQ(encode({"x", {"a"}, {}}).problem, SampleProblem::kNoTurn);
  EXPECT_EQ(encode({"x", {}, {{"<image>?", "a"}}}).problem, SampleProblem::kPlaceholdersAgainstImages);
  EXPECT_EQ(encode({"x", {"a"}, {{"?", "a"}}}).problem, SampleProblem::kPlaceholdersAgainstImages);
  EXPECT_EQ(encode({"x", {"a"}, {{"?", "<image>"}}}).problem, SampleProblem::kPlaceholdersAgainstImages)
      << "a placeholder in an answer is plain text";
  EXPECT_EQ(encode({"x", {"a", "b"}, {{"<image>?", "a"}}}).reason,
            "expected one image per <image>, found 1 placeholder(s) and 2 image(s)");
  EXPECT_EQ(encode({"x", {}, {{"?", "a"}}}).problem, SampleProblem::kNone) << "text alone is a sample";
  EXPECT_EQ(encode(plain, 11).problem, SampleProblem::kSpanCut);
  EXPECT_EQ(encode(plain, 12).problem, SampleProblem::kSpanCut) << "the span's last id would be a target only";
  EXPECT_EQ(encode(plain, 4).problem, SampleProblem::kSpanCut) << "cut off whole";
  EXPECT_EQ(encode(plain, 13).problem, SampleProblem::kNoMarker);
  const int64_t marker_end = length - 1 - 1 - 6 - 1;  // newline, </s>, answer, newline
  EXPECT_EQ(encode(plain, marker_end).problem, SampleProblem::kNothingSupervised);
  EXPECT_EQ(encode(plain, marker_end - 1).problem, SampleProblem::kNoMarker);
  EXPECT_EQ(encode(plain, marker_end).reason, "truncation to " + std::to_string(marker_end) + " of " +
                                                  std::to_string(length) + " tokens leaves no token of the answer");
  EXPECT_EQ(encode(plain, marker_end + 1).problem, SampleProblem::kNone);
  EXPECT_EQ(encode(plain, marker_end + 1).supervised, 1);
  EXPECT_EQ(encode(plain, 13, Supervision::kAllAnswers).problem, SampleProblem::kNothingSupervised);
  EXPECT_EQ(encode(plain, marker_end + 1, Supervision::kAllAnswers).supervised, 1);
}

// Renders, encodes and masks as the original does, and flags what the original trains on by mistake.
TEST(GoldenTrainSampleAudit, EqualsTheOriginalAndFlagsWhatCannotBeTrained) {
  MINIMIND_REQUIRE_FIXTURES();
  const auto tokenizer = load_tokenizer(fixtures_dir() / "tokenizer" / "tokenizer.json");
  const ImagePattern pattern = make_image_pattern(*tokenizer, std::string(25, '<') + std::string(25, '>'), 50);
  const auto conversations = read_json(fixtures_dir() / "tokenizer" / "conversations.json");
  const auto& cases = conversations.at("train_samples");
  TemporaryFolder folder;
  size_t ran = 0;
  size_t flagged = 0;
  for (const auto& golden : cases) {
    SCOPED_TRACE(golden.at("sample").dump());
    const auto path = write_bytes(folder / "data.json", nlohmann::json::array({golden.at("sample")}).dump());
    const Dataset data = Dataset::load(path, kind_named(golden.at("kind")));
    const Sample sample = data.sample(0);
    const int64_t length = golden.at("max_length");
    const EncodedSample encoded = encode_sample(sample, {*tokenizer, pattern, length, Supervision::kLastAnswer});
    flagged += encoded.problem == SampleProblem::kNone ? 0 : 1;
    ++ran;
    if (golden.contains("error")) {
      EXPECT_NE(encoded.problem, SampleProblem::kNone);
      continue;
    }
    std::vector<int64_t> ids = golden.at("X");
    ids.push_back(golden.at("Y_last"));
    const std::vector<int64_t> mask = golden.at("loss_mask");
    const std::vector<int64_t> starts = golden.at("placeholder_starts");
    const auto real = std::ssize(encoded.ids);
    // After a space our span is intact and the original finds no span.
    const bool departs = starts.size() < encoded.spans.size() && encoded.problem != SampleProblem::kSpanCut;
    if (!departs) {
      ASSERT_LE(real, std::ssize(ids));
      ids.resize(static_cast<size_t>(real));
      EXPECT_EQ(std::vector<int64_t>(encoded.ids.begin(), encoded.ids.end()), ids);
      EXPECT_EQ(std::vector<int64_t>(encoded.mask.begin() + 1, encoded.mask.end()),
                std::vector<int64_t>(mask.begin(), mask.begin() + real - 1));
    } else {
      for (const int64_t span : encoded.spans) {
        EXPECT_TRUE(std::equal(pattern.ids.begin(), pattern.ids.end(), encoded.ids.begin() + span));
      }
    }
    // What the original cannot splice, supervises nearly whole (its mask for a lost marker begins at the fourth id) or
    // not at all must be flagged.
    const bool original_splices = starts.size() == sample.images.size();
    const bool masks_an_answer = golden.at("n_supervised") > 0 && mask.at(2) == 0;
    if (!departs) {
      EXPECT_EQ(encoded.problem == SampleProblem::kNone, original_splices && masks_an_answer) << encoded.reason;
    }
  }
  golden_ran("train_sample_audit", ran, cases.size());
  std::cout << flagged << " of them flagged" << std::endl;
}

}  // namespace minimind::testing
