#include "minimind/data/dataset.h"

#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "data_support.h"

namespace minimind::testing {

namespace {

using Turns = std::vector<std::pair<std::string, std::string>>;

std::string message(const std::string& value) {
  return R"({"from": "human", "value": ")" + value + "\"}";
}

std::string sample_json(const std::string& head, const std::vector<std::string>& values) {
  std::string json = "{" + head + R"("conversations": [)";
  for (size_t i = 0; i < values.size(); ++i) {
    json += (i == 0 ? "" : ", ") + message(values[i]);
  }
  return json + "]}";
}

class DatasetFiles : public ::testing::Test {
 protected:
  Dataset load(const std::string& json, DataKind kind = DataKind::kPretrain) {
    return Dataset::load(write_bytes(folder_ / "data.json", json), kind);
  }
  std::string load_error(const std::string& json) {
    return error_of([&] { load(json); });
  }
  std::string place() { return (folder_ / "data.json").string() + ": "; }
  TemporaryFolder folder_;
};

}  // namespace

TEST_F(DatasetFiles, DatasetPairsTurnsByPositionAndDropsTheUnanswered) {
  const Dataset data =
      load("[" + sample_json(R"("id": "a", "image": "0.jpg", )", {"q1", "a1", "q2", "a2", "q3"}) + "]");
  ASSERT_EQ(data.size(), 1);
  EXPECT_EQ(data.id(0), "a");
  EXPECT_EQ(data.sample(0).images, std::vector<std::string>{"0.jpg"});
  EXPECT_EQ(data.sample(0).turns, (Turns{{"q1", "a1"}, {"q2", "a2"}}));
}

TEST_F(DatasetFiles, DatasetDropsPairsWithAnEmptySide) {
  const Dataset data = load("[" + sample_json(R"("image": "0.jpg", )", {"q1", "", "", "a2", "q3", "a3"}) + "]");
  EXPECT_EQ(data.sample(0).turns, (Turns{{"q3", "a3"}}));
}

TEST_F(DatasetFiles, DatasetOfInstructionsKeepsTheFirstPairOnly) {
  const std::string json =
      "[" + sample_json("", {"q1", "a1", "q2", "a2"}) + "," + sample_json("", {"q1", "", "q2", "a2"}) + "]";
  for (const DataKind kind : {DataKind::kInstruction, DataKind::kMultiImage}) {
    const Dataset data = load(json, kind);
    EXPECT_EQ(data.sample(0).turns, (Turns{{"q1", "a1"}}));
    EXPECT_TRUE(data.sample(1).turns.empty());
  }
}

TEST_F(DatasetFiles, DatasetSplitsTheImageListAtCommasAndStrips) {
  const Dataset data =
      load("[" + sample_json(R"("image": " a.jpg ,\tb c.png,d.webp,", )", {"q", "a"}) + "]", DataKind::kMultiImage);
  EXPECT_EQ(data.sample(0).images, (std::vector<std::string>{"a.jpg", "b c.png", "d.webp"}));
}

TEST_F(DatasetFiles, DatasetTakesSamplesWithoutImageAndIdsOfEveryForm) {
  const Dataset data = load("[" + sample_json(R"("id": 17, "image": null, )", {"q", "a"}) + "," +
                            sample_json("", {"q", "a"}) + "," + sample_json(R"("image": "", "id": "x", )", {"q", "a"}) +
                            "," + sample_json(R"("id": -1.50e3, "image": null, )", {"q", "a"}) + "," +
                            sample_json(R"("id": 123456789012345678901234567890, )", {"q", "a"}) + "]");
  EXPECT_EQ(data.id(0), "17");
  EXPECT_EQ(data.id(1), "#1");
  EXPECT_EQ(data.id(2), "x");
  EXPECT_EQ(data.id(3), "-1.50e3");
  EXPECT_EQ(data.id(4), "123456789012345678901234567890");
  for (int64_t i = 0; i < 5; ++i) {
    EXPECT_TRUE(data.sample(i).images.empty());
  }
}

TEST_F(DatasetFiles, DatasetDecodesEscapesAndIgnoresUnknownFields) {
  const Dataset data = load(R"([{"extra": {"deep": [1, -2.5e+3, true, null, {"x": "\"]}"}], "e": {}, "f": []},
    "conversations": [{"value": "\u4f60\u597d \ud83d\ude00\n\"\\\/\t", "from": 3}, {"weight": 0, "value": "a\u00e9é"}]}])");
  EXPECT_EQ(data.sample(0).turns, (Turns{{"你好 😀\n\"\\/\t", "aéé"}}));
}

TEST_F(DatasetFiles, DatasetTakesTheLastOfRepeatedKeysAndAByteOrderMark) {
  const Dataset data = load("\xEF\xBB\xBF[{\"id\": 1, \"conversations\": [" + message("x") + "," + message("y") +
                            "], \"id\": 2, \"conversations\": [" + message("q") + "," + message("a") + "]}] \n");
  EXPECT_EQ(data.id(0), "2");
  EXPECT_EQ(data.sample(0).turns, (Turns{{"q", "a"}}));
}

TEST_F(DatasetFiles, DatasetSizesFollowTheText) {
  const Dataset data = load("[" + sample_json(R"("image": "a.jpg,b.jpg", )", {"qqqq", "aaaaaa"}) + "," +
                            sample_json("", {std::string(1000, 'q'), "a"}) + "]");
  EXPECT_EQ(data.sample_size(0).images, 2);
  EXPECT_NEAR(static_cast<double>(data.sample_size(0).text_bytes), 10, 8);
  EXPECT_NEAR(static_cast<double>(data.sample_size(1).text_bytes), 1001, 8);
}

TEST_F(DatasetFiles, DatasetRefusesMalformedJsonWithLineAndColumn) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "line 1, column 1: expected valid JSON, found the end of the file"},
      {"7", "line 1, column 1: expected an array of samples '[', found '7'"},
      {"{}", "line 1, column 1: expected an array of samples '[' or samples {id, image, conversations}, found 1"},
      {"[\n  {\"id\": \"ü\", x}]",
       "line 2, column 15: expected valid JSON, found 'x' (invalid literal; expected string"},
      {"[{\"conversations\": []}\n",
       "line 2, column 1: expected valid JSON, found the end of the file (unexpected end"},
      {"[{\"conversations\": []},]", "line 1, column 24: expected valid JSON, found ']'"},
      {"[{\"conversations\": []}] x", "line 1, column 25: expected valid JSON, found 'x'"},
      {std::string("[{\"conversations\": []}]\0[]", 26),
       "line 1, column 24: expected the end of the file, found '\\u0000'"},
      {"[{\"id\" 3}]", "line 1, column 8: expected valid JSON, found '3' (unexpected number literal; expected ':')"},
      {"[{\"id\": \"a\nb\"}]",
       "line 1, column 11: expected valid JSON, found '\\u000a' (invalid string: control character"},
      {"[{\"id\": \"a\\q\"}]",
       "line 1, column 12: expected valid JSON, found 'q' (invalid string: forbidden character"},
      {"[{\"id\": \"é\xC3(\"}]",
       "line 1, column 12: expected valid JSON, found '(' (invalid string: ill-formed UTF-8 byte)"},
      {"[{\"id\": \"\xED\xA0\x80\"}]",
       "line 1, column 11: expected valid JSON, found '\uFFFD' (invalid string: ill-formed"},
      {"[{\"a\": 01}]", "line 1, column 9: expected valid JSON, found '1'"},
      {"[{\"a\": nul}]", "line 1, column 11: expected valid JSON, found '}' (invalid literal)"},
      {"[{\"a\": [1, 2}]}]", "line 1, column 13: expected valid JSON, found '}' (unexpected '}'; expected ']')"},
      {"[{\"a\": Nan}]", "line 1, column 8: expected valid JSON, found 'N' (invalid literal)"},
      {"[{\"a\": 1e999}]", "line 1, column 12: expected valid JSON, found '9' (number overflow"},
      {"[{\"id\": \"abc", "line 1, column 13: expected valid JSON, found the end of the file (invalid string: missing"},
      {"[\n{\"id\": \"a\\ud800\\u0041\"}]",
       "line 2, column 21: expected valid JSON, found '1' (invalid string: surrogate U+D8"},
      {"[{\"conversations\": [{\"value\": \"\\udc00\"}]}]",
       "line 1, column 37: expected valid JSON, found '0' (invalid string: surrogate"},
  };
  for (const auto& [json, expected] : cases) {
    const std::string found = load_error(json);
    EXPECT_TRUE(found.starts_with(place() + expected)) << json << "\n" << found;
  }
}

TEST_F(DatasetFiles, DatasetSurvivesHostileNesting) {
  const std::string found = load_error("[{\"a\": " + std::string(2000000, '['));
  EXPECT_NE(found.find("column 2000008: expected valid JSON, found the end of the file"), std::string::npos) << found;
}

TEST_F(DatasetFiles, DatasetKeepsASampleOfAWrongShapeWithItsProblem) {
  const std::string good = R"({"id": "good", "conversations": []})";
  struct Case {
    std::string json, id, problem;
  };
  const std::vector<Case> cases = {
      {R"({"conversations": {"a": 1}, "id": "late"})", "late",
       "conversations: expected an array of {from, value}, found an object"},
      {R"({"id": "x"})", "x", "expected a key \"conversations\" or \"messages\", found the keys \"id\""},
      {"7", "#1", "element: expected an object {id, image, conversations}, found a number"},
      {R"({"id": "x", "image": {"a": 1}, "conversations": []})", "x",
       "image: expected a string of file names or an array of them, found an object"},
      {R"({"id": "x", "image": ["a.jpg", 3], "conversations": []})", "x",
       "image[1]: expected a file name, found a number"},
      {R"({"id": "x", "conversations": [{"from": "a", "value": null}]})", "x",
       "conversations[0].value: expected a string, found null"},
      {R"({"id": "x", "conversations": [{"value": "q"}, {"from": "a"}]})", "x",
       "conversations[1]: expected a key \"value\", found no such key"},
      {R"({"id": "x", "conversations": [[]]})", "x",
       "conversations[0]: expected an object {from, value}, found an array"},
      {R"({"id": true, "conversations": []})", "#1", "id: expected a string or a number, found a boolean"},
      {R"({"id": "x", "conversations": [], "conversations": null})", "x",
       "conversations: expected an array of {from, value}, found null"},
  };
  for (const Case& bad : cases) {
    const Dataset data = load("[" + good + ", " + bad.json + ", " + good + "]");
    ASSERT_EQ(data.size(), 3) << bad.json;
    EXPECT_EQ(data.sample(1).id, bad.id);
    EXPECT_EQ(data.sample(1).problem, bad.problem);
    EXPECT_TRUE(data.sample(1).images.empty() && data.sample(1).turns.empty()) << bad.json;
    EXPECT_TRUE(data.sample(0).problem.empty() && data.sample(2).problem.empty()) << bad.json;
  }
}

TEST_F(DatasetFiles, DatasetRefusesAFileWithoutASampleOfTheRightShape) {
  EXPECT_TRUE(load_error("[]").starts_with(place() + "expected at least one sample, found an empty array"));
  EXPECT_EQ(load_error("[\n7, 8]"),
            place() +
                "line 2, column 1: expected samples {id, image, conversations}, found 2 samples "
                "of the wrong shape; the first, '#0': element: expected an object {id, image, "
                "conversations}, found a number");
}

TEST_F(DatasetFiles, DatasetTakesAnArrayOfImages) {
  const Dataset data = load("[" + sample_json(R"("image": ["a.jpg", " b,c.jpg "], )", {"q", "a"}) + "," +
                                sample_json(R"("image": [], )", {"q", "a"}) + "]",
                            DataKind::kMultiImage);
  EXPECT_EQ(data.sample(0).images, (std::vector<std::string>{"a.jpg", "b,c.jpg"}));
  EXPECT_TRUE(data.sample(1).images.empty());
}

TEST_F(DatasetFiles, DatasetNamesAMissingFile) {
  EXPECT_NE(error_of([&] { Dataset::load(folder_ / "none.json", DataKind::kPretrain); }).find("none.json"),
            std::string::npos);
  EXPECT_NE(error_of([&] { Dataset::load(folder_.path(), DataKind::kPretrain); }).find("folder"), std::string::npos);
}

TEST_F(DatasetFiles, DatasetKeepsManySamplesInOrder) {
  std::string json = "[";
  for (int i = 0; i < 5000; ++i) {
    json += (i == 0 ? "" : ",\n") +
            sample_json("\"id\": \"" + std::to_string(i) + "\", \"image\": \"" + std::to_string(i) + ".jpg\", ",
                        {std::string(static_cast<size_t>(i % 300), 'q') + "q", std::to_string(i)});
  }
  const Dataset data = load(json + "]");
  ASSERT_EQ(data.size(), 5000);
  for (int64_t i = 0; i < data.size(); ++i) {
    const Sample sample = data.sample(i);
    ASSERT_EQ(sample.id, std::to_string(i));
    ASSERT_EQ(sample.images[0], std::to_string(i) + ".jpg");
    ASSERT_EQ(sample.turns[0].second, std::to_string(i));
    ASSERT_EQ(sample.turns[0].first.size(), static_cast<size_t>(i % 300 + 1));
  }
  EXPECT_THROW(data.sample(5000), std::logic_error);
}

}  // namespace minimind::testing
