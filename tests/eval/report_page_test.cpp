#include "eval/report_page.h"

#include <gtest/gtest.h>

#include "base/html.h"

namespace minimind {
namespace {

Report two_columns() {
  Report report;
  report.settings = "greedy";
  ReportColumn first{.checkpoint = "out/512_vlm_pretrain.pth", .tokens = 90, .answers = 2, .decode_seconds = 1.5};
  first.seconds = 2.0;
  first.load_seconds = 0.25;
  ReportColumn second = first;
  second.checkpoint = "out/512_vlm_sft.pth";
  second.decode_seconds = 3.0;
  second.scores = "exact 0.500";
  report.columns = {first, second};
  report.rows.push_back(
      {{{"a.png", "JPEG"}}, {{"<script>alert(1)</script>", ""}, {"红色的圆", ""}}, "", "What & who?"});
  report.rows.push_back({{{"\"><img src=x>.png", ""}}, {}, "<b>.png: cannot be read", "What & who?"});
  return report;
}

bool holds(const std::string& page, const std::string& part) {
  return page.find(part) != std::string::npos;
}

TEST(ReportPage, PutsImagesInRowsAndCheckpointsInColumns) {
  const std::string page = report_page(two_columns());
  const size_t first = page.find("512_vlm_pretrain<"), second = page.find("512_vlm_sft<");
  ASSERT_NE(first, std::string::npos);
  ASSERT_NE(second, std::string::npos);
  EXPECT_LT(first, second);
  EXPECT_TRUE(holds(page, "&lt;script&gt;alert(1)&lt;/script&gt;</td><td>红色的圆</td></tr>"));
}

TEST(ReportPage, LeavesOutBlankAroundAnswers) {
  Report report = two_columns();
  report.rows[0].answers = {{"\n a\nb \n\n", ""}, {"\n\n", ""}};
  EXPECT_TRUE(holds(report_page(report), "<td>a\nb</td><td><i>no answer</i></td>"));
}

TEST(ReportPage, TellsTheSpeedOfEachCheckpoint) {
  const std::string page = report_page(two_columns());
  EXPECT_TRUE(holds(page, "60.0 tokens/s"));
  EXPECT_TRUE(holds(page, "30.0 tokens/s"));
  EXPECT_TRUE(holds(page, "2.00 s for 2 answers"));
  EXPECT_TRUE(holds(page, "loaded in 0.25 s"));
  EXPECT_TRUE(holds(page, "exact 0.500"));
}

TEST(ReportPage, EscapesQuestionNamesAnswersAndProblems) {
  const std::string page = report_page(two_columns());
  EXPECT_FALSE(holds(page, "<script>"));
  EXPECT_FALSE(holds(page, "<img src=x"));
  EXPECT_FALSE(holds(page, "<b>.png"));
  EXPECT_TRUE(holds(page, "What &amp; who?"));
  EXPECT_TRUE(holds(page, "&quot;&gt;&lt;img src=x&gt;.png"));
}

TEST(ReportPage, HoldsItsImagesAndNamesNoAddress) {
  const std::string page = report_page(two_columns());
  EXPECT_TRUE(holds(page, "src=\"data:image/jpeg;base64,SlBFRw==\""));
  EXPECT_FALSE(holds(page, "http:"));
  EXPECT_FALSE(holds(page, "https:"));
  EXPECT_FALSE(holds(page, "<link"));
}

TEST(ReportPage, GivesEachImageOfARowAColumn) {
  Report report = two_columns();
  report.rows.push_back({{{"bird/0.jpg", "A"}, {"bird/1.jpg", "B"}}, {{"x", ""}, {"y", ""}}, "", "What & who?"});
  const std::string page = report_page(report);
  EXPECT_TRUE(holds(page, "image 1</th>"));
  EXPECT_TRUE(holds(page, "image 2</th>"));
}

TEST(ReportPage, PutsDifferentQuestionsAboveTheirRows) {
  const std::string same = report_page(two_columns());
  EXPECT_TRUE(holds(same, "<p>What &amp; who?</p>"));
  EXPECT_FALSE(holds(same, "class=\"q\""));
  Report report = two_columns();
  report.rows[1].question = "<Which>?";
  const std::string page = report_page(report);
  EXPECT_TRUE(holds(page, "<p>The question stands above each row.</p>"));
  const size_t first = page.find("colspan=\"3\">What &amp; who?</td></tr>\n<tr>");
  const size_t second = page.find("colspan=\"3\">&lt;Which&gt;?</td></tr>\n<tr>");
  ASSERT_NE(first, std::string::npos) << page;
  ASSERT_NE(second, std::string::npos) << page;
  EXPECT_LT(first, page.find("红色的圆"));
  EXPECT_LT(page.find("红色的圆"), second);
}

TEST(ReportPage, TellsAnAnswersProblemInItsCell) {
  Report report = two_columns();
  report.rows[0].answers[1] = {"", "pair: <image> (2)"};
  EXPECT_TRUE(
      holds(report_page(report), "alert(1)&lt;/script&gt;</td><td class=\"problem\">pair: &lt;image&gt; (2)</td>"));
}

TEST(ReportPage, TitlesColumnsByPathWhereNamesAreEqual) {
  std::vector<ReportColumn> columns(4);
  columns[0].checkpoint = "a/512_vlm_sft.pth";
  columns[1].checkpoint = "b/512_vlm_sft.pth";
  columns[2].checkpoint = "models/minimind-v-v1/";
  columns[3].checkpoint = "v1.5/768.safetensors";
  EXPECT_EQ(column_titles(columns),
            (std::vector<std::string>{"a/512_vlm_sft.pth", "b/512_vlm_sft.pth", "minimind-v-v1", "768"}));
}

TEST(Html, EscapesWhatWouldEndTextOrAttributes) {
  EXPECT_EQ(escape_html("<a href='x'>\"&\x01\n红\xFF"), "&lt;a href=&#39;x&#39;&gt;&quot;&amp;\n红\xEF\xBF\xBD");
}

TEST(Html, WritesBase64WithItsPadding) {
  EXPECT_EQ(data_url("text/plain", ""), "data:text/plain;base64,");
  EXPECT_EQ(data_url("text/plain", "f"), "data:text/plain;base64,Zg==");
  EXPECT_EQ(data_url("text/plain", "fo"), "data:text/plain;base64,Zm8=");
  EXPECT_EQ(data_url("text/plain", "foob\xFF\xFE"), "data:text/plain;base64,Zm9vYv/+");
}

}  // namespace
}  // namespace minimind
