#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "data/accents.h"
#include "data/audit.h"
#include "data_support.h"
#include "minimind/data/dataset.h"
#include "minimind/data/image_source.h"
#include "minimind/data/loader.h"
#include "zip_writer.h"

namespace minimind::testing {

namespace {

using Turns = std::vector<std::pair<std::string, std::string>>;

constexpr const char* kTalk = R"("conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}])";

class ForeignData : public ::testing::Test {
 protected:
  Dataset load(const std::string& json, DataKind kind = DataKind::kPretrain) {
    return Dataset::load(write_bytes(folder_ / "data.json", json), kind);
  }
  std::string load_error(const std::string& json) {
    return error_of([&] { load(json); });
  }
  Sample only(const std::string& sample) { return load("[" + sample + "]").sample(0); }
  TemporaryFolder folder_;
};

#define EXPECT_HAS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

std::string utf16(const std::string& ascii, bool is_big, bool has_mark) {
  std::string text = has_mark ? (is_big ? "\xFE\xFF" : "\xFF\xFE") : "";
  for (const char c : ascii) {
    text += is_big ? std::string(1, '\0') + c : c + std::string(1, '\0');
  }
  return text;
}

}  // namespace

TEST_F(ForeignData, IdsThatATableLeftEmptyAreNumbered) {
  for (const std::string id : {R"("id": null, )", R"("id": NaN, )", R"("id": "", )", ""}) {
    const Dataset data = load("[{" + id + kTalk + "}, {" + id + kTalk + "}]");
    EXPECT_EQ(data.id(1), "#1") << id;
    EXPECT_EQ(data.sample(1).problem, "") << id;
  }
}

TEST_F(ForeignData, PythonsNumbersThatJsonLacksAreReadWhereNobodyNeedsThem) {
  for (const std::string value : {"NaN", "Infinity", "-Infinity", "[NaN, 1,NaN]", R"({"a": -Infinity, "b": "NaN"})"}) {
    EXPECT_EQ(only(R"({"id": 7, "score": )" + value + ", " + kTalk + "}").turns, (Turns{{"q", "a"}})) << value;
  }
  EXPECT_EQ(only(R"({"id": "NaN", "image": NaN, "conversations": [{"from": "human", "value": "Infinity \"NaN"},
                    {"from": "gpt", "value": "\\"}]})")
                .turns,
            (Turns{{"Infinity \"NaN", "\\"}}));
  EXPECT_HAS(load_error(R"([{"id": 1, "conversations": [{"value": NaN}, {"value": "a"}]}])"), "found NaN or Infinity");
  EXPECT_HAS(load_error(R"([{"id": Nan}])"), "expected valid JSON");
}

TEST_F(ForeignData, JsonLinesAreReadLikeAnArray) {
  const std::string line = "{" + std::string(R"("id": "x", )") + kTalk + "}";
  for (const std::string& text :
       {line + "\n" + line + "\n", line + "\r\n\r\n" + line, "\xEF\xBB\xBF" + line + " " + line}) {
    const Dataset lines = load(text);
    ASSERT_EQ(lines.size(), 2) << text;
    EXPECT_EQ(lines.digest(), load("[" + line + "," + line + "]").digest());
  }
  EXPECT_HAS(load_error(line + "\n{\"id\": }\n"), "line 2, column 8: expected valid JSON");
  EXPECT_HAS(load_error(line + "\n" + line + "]"), "line 2, column");
  EXPECT_HAS(load_error(R"({"data": []})"), "expected an array of samples '[' or samples");
}

TEST_F(ForeignData, OtherTrainersKeysAreReadOrNamed) {
  EXPECT_EQ(only(std::string(R"({"images": ["a.jpg", "b.jpg"], )") + kTalk + "}").images,
            (std::vector<std::string>{"a.jpg", "b.jpg"}));
  EXPECT_EQ(only(std::string(R"({"image": "a.jpg", "images": ["b.jpg"], )") + kTalk + "}").images,
            std::vector<std::string>{"a.jpg"});
  EXPECT_EQ(only(R"({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]})").turns,
            (Turns{{"q", "a"}}));
  EXPECT_HAS(load_error(R"([{"query": "q", "response": "a"}])"), R"(the keys "query", "response")");
  EXPECT_HAS(load_error(R"([{"messages": [{"role": "user", "content": [{"type": "text"}]}]}])"),
             "messages[0].value: expected a string, found an array");
}

TEST_F(ForeignData, OtherEncodingsAndPackedFilesAreNamedWithTheCure) {
  const std::string json = "[{" + std::string(kTalk) + "}]";
  for (const bool is_big : {false, true}) {
    for (const bool has_mark : {false, true}) {
      EXPECT_HAS(load_error(utf16(json, is_big, has_mark)), "UTF-16; convert it: iconv");
    }
  }
  EXPECT_HAS(load_error("\x1F\x8B\x08 and so on"), "a gzip file; unpack it first: gunzip");
  EXPECT_HAS(load_error("PK\x03\x04 and so on"), "a zip archive");
  EXPECT_HAS(load_error("\xFD\x37zXZ" + std::string(9, '\0')), "an xz file");
  EXPECT_HAS(load_error("PAR1 and so on"), "a Parquet file");
  EXPECT_HAS(load_error("version https://git-lfs.github.com/spec/v1"), "git lfs pull");
  EXPECT_HAS(load_error("<!doctype html><p>404"), "a web page");
  EXPECT_HAS(load_error("[{\"id\": \"\xBA\xEC\xBB\xA8\"}]"), "iconv -f GBK -t UTF-8");
}

TEST_F(ForeignData, RolesThatDoNotAlternateLeaveMessagesOutAndAreTold) {
  const auto talk = [](const std::string& roles) {
    std::string json;
    for (size_t i = 0; i < roles.size(); ++i) {
      const std::string role = roles[i] == 'h'   ? "human"
                               : roles[i] == 'g' ? "gpt"
                               : roles[i] == 's' ? "system"
                                                 : "tool";
      json += (i == 0 ? "" : ", ") + (R"({"from": ")" + role + R"(", "value": "m)" + std::to_string(i) + "\"}");
    }
    return "{\"conversations\": [" + json + "]}";
  };
  const Sample greeting = only(talk("ghg"));
  EXPECT_EQ(greeting.turns, (Turns{{"m1", "m2"}}));
  EXPECT_HAS(greeting.note, "message 0 (gpt) is left out: no question stands before it");
  const Sample system = only(talk("shg"));
  EXPECT_EQ(system.turns, (Turns{{"m1", "m2"}}));
  EXPECT_HAS(system.note, "message 0 (system)");
  const Sample twice = only(talk("hhg"));
  EXPECT_EQ(twice.turns, (Turns{{"m1", "m2"}}));
  EXPECT_HAS(twice.note, "message 0 (human) is left out: another question follows it");
  EXPECT_EQ(only(talk("hggh")).turns, (Turns{{"m0", "m1"}}));
  EXPECT_EQ(only(talk("hghg")).note, "");
  EXPECT_EQ(only(talk("hghgh")).note, "") << "a last question is dropped without a word";
  EXPECT_EQ(only(talk("hhhh")).turns, (Turns{{"m0", "m1"}, {"m2", "m3"}})) << "by place if no role is the model's";
  EXPECT_EQ(only(talk("hgtt")).turns, (Turns{{"m0", "m1"}, {"m2", "m3"}})) << "an unknown role goes by its place";
}

TEST_F(ForeignData, TheAuditTellsRolesOutOfOrderAndTurnedPhotos) {
  const std::string tags("Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0", 32);
  const std::string upright = make_jpeg(1);
  const std::string length{static_cast<char>((tags.size() + 2) >> 8U), static_cast<char>(tags.size() + 2)};
  write_bytes(folder_ / "images/a.jpg", upright.substr(0, 2) + "\xFF\xE1" + length + tags + upright.substr(2));
  const Dataset data = load(
      R"([{"id": "s", "image": "a.jpg", "conversations": [{"from": "system", "value": "x"},
          {"from": "human", "value": "<image>?"}, {"from": "gpt", "value": "yes"}]}])");
  const ByteTokenizer tokenizer;
  const ImagePattern pattern = make_image_pattern(tokenizer, "<<<>>>", 6);
  const auto images = open_image_source(folder_ / "images");
  LoaderOptions options;
  options.max_seq_len = 100;
  const AuditReport report = audit_data({data, DataKind::kPretrain, tokenizer, pattern, *images}, options, "d");
  EXPECT_EQ(report.usable, 1);
  EXPECT_EQ(report.count(SampleProblem::kRolesOutOfOrder), 1);
  EXPECT_EQ(report.count(SampleProblem::kTurnedImage), 1);
  EXPECT_HAS(report.summary(), "orientation is 6");
}

TEST_F(ForeignData, AbsoluteNamesInsideTheFolderAreFound) {
  write_bytes(folder_ / "images/sub/1.jpg", "x");
  write_bytes(folder_ / "images/COCO_2.jpg", "x");
  fs::create_directory_symlink(folder_ / "images", folder_ / "link");
  for (const char* way : {"images", "link", "images/", "images/../images"}) {
    const auto images = open_image_source(folder_ / way);
    for (const char* named : {"images", "images/./"}) {
      const fs::path base = folder_ / named;
      EXPECT_EQ(find_image(*images, (base / "sub/1.jpg").string(), "COCO_"), "sub/1.jpg") << way;
      EXPECT_EQ(find_image(*images, (base / "2.jpg").string(), "COCO_"), "COCO_2.jpg") << way;
    }
    EXPECT_HAS(error_of([&] { find_image(*images, "/etc/passwd", ""); }), "--images_dir may name a folder above it");
    EXPECT_HAS(error_of([&] { find_image(*images, (folder_ / "images/../x.jpg").string(), ""); }), "refused");
  }
}

TEST_F(ForeignData, MessagesHaveTheNameOfTheJson) {
  write_bytes(folder_ / "images/COCO_bad.jpg", "no image");
  const auto images = open_image_source(folder_ / "images");
  EXPECT_HAS(error_of([&] { find_image(*images, "none.jpg", "COCO_"); }), "image none.jpg not found in");
  EXPECT_HAS(error_of([&] { find_image(*images, "../none.jpg", "COCO_"); }), "image ../none.jpg refused");
  EXPECT_EQ(image_label("bad.jpg", find_image(*images, "bad.jpg", "COCO_")), "bad.jpg (the file COCO_bad.jpg)");
  EXPECT_EQ(image_label("a.jpg", "a.jpg"), "a.jpg");
}

TEST_F(ForeignData, NamesOfWindowsAndMacAreFound) {
  const std::string composed = "caf\xC3\xA9 \xEA\xB0\x81 \xE1\xBB\x87 \xE3\x81\x8C.jpg";
  const std::string decomposed = detail::decompose_accents(composed);
  EXPECT_EQ(decomposed,
            "cafe\xCC\x81 \xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8 e\xCC\xA3\xCC\x82 \xE3\x81\x8B\xE3\x82\x99.jpg");
  EXPECT_EQ(detail::compose_accents(decomposed), composed);
  EXPECT_EQ(detail::compose_accents("\xFF"), "\xFF");
  write_bytes(folder_ / "mac" / decomposed, "x");
  write_bytes(folder_ / "linux" / composed, "x");
  EXPECT_EQ(find_image(*open_image_source(folder_ / "mac"), composed, ""), decomposed);
  EXPECT_EQ(find_image(*open_image_source(folder_ / "linux"), decomposed, ""), composed);
  write_bytes(folder_ / "linux/sub/1.jpg", "x");
  EXPECT_EQ(find_image(*open_image_source(folder_ / "linux"), "sub\\1.jpg", ""), "sub/1.jpg");
  EXPECT_HAS(error_of([&] { find_image(*open_image_source(folder_ / "linux"), "..\\1.jpg", ""); }), "not found");
}

TEST_F(ForeignData, ZipsOfWindowsKeepTheirNames) {
  const std::string red = "\xE7\xBA\xA2\xE8\x8A\xB1.jpg", red_gbk = "\xBA\xEC\xBB\xA8.jpg";
  ZipWriter slashes, gbk, dos, mac;
  slashes.add("images\\" + red, "x");
  slashes.add("images\\", "");
  gbk.add("images/" + red_gbk, "x");
  gbk.add("plain.jpg", "y");
  dos.add("caf\x82.jpg", "x");  // code page 437
  mac.add("cafe\xCC\x81.jpg", "x");
  const auto open = [&](const std::string& name, ZipWriter& zip) {
    return open_image_source(write_bytes(folder_ / name, zip.finish()));
  };
  EXPECT_EQ(open("s.zip", slashes)->read("images/" + red), "x");
  EXPECT_EQ(open("g.zip", gbk)->read("images/" + red), "x");
  EXPECT_EQ(open_image_source(folder_ / "g.zip")->read("plain.jpg"), "y");
  EXPECT_EQ(open("d.zip", dos)->read("caf\xC3\xA9.jpg"), "x");
  const auto from_mac = open("m.zip", mac);
  EXPECT_EQ(from_mac->read(find_image(*from_mac, "caf\xC3\xA9.jpg", "")), "x");
}

TEST_F(ForeignData, ZipsBehindAProgramAreReadAndOtherArchivesNamed) {
  for (const auto form : {ZipWriter::Form::kPlain, ZipWriter::Form::kZip64}) {
    ZipWriter zip(form);
    zip.add("a.jpg", "bytes", true);
    zip.add("b.jpg", "more");
    const auto source =
        open_image_source(write_bytes(folder_ / "self.exe", "MZ a program" + std::string(5000, 'x') + zip.finish("c")));
    EXPECT_EQ(source->read("a.jpg"), "bytes");
    EXPECT_EQ(source->read("b.jpg"), "more");
  }
  std::string tar(600, '\0');
  tar.replace(257, 5, "ustar");
  for (const auto& [bytes, name] : {std::pair<std::string, const char*>("Rar!\x1A\x07\x01", "a RAR archive"),
                                    {std::string("7z\xBC\xAF\x27\x1C\0", 7), "a 7z archive"},
                                    {tar, "a tar archive"},
                                    {"\x1F\x8B\x08", "a gzip file"},
                                    {"<html>", "a web page"}}) {
    const fs::path path = write_bytes(folder_ / "images.bin", bytes);
    EXPECT_HAS(error_of([&] { open_image_source(path); }), name);
  }
}

}  // namespace minimind::testing
