#include "minimind/data/image_source.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <ctime>
#include <iostream>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "data_support.h"
#include "zip_writer.h"

namespace minimind::testing {

namespace {

std::map<std::string, std::string> some_files() {
  std::map<std::string, std::string> files;
  Random random(3);
  for (int i = 0; i < 40; ++i) {
    std::string bytes;
    const auto size = i == 0 ? 0 : static_cast<int>(random.below(30000));
    for (int k = 0; k < size; ++k) {
      bytes.push_back(static_cast<char>(i % 2 == 0 ? random.below(256) : random.below(4)));
    }
    files["part" + std::to_string(i % 3) + "/" + std::to_string(i) + ".jpg"] = bytes;
  }
  return files;
}

fs::path write_folder(const fs::path& folder, const std::map<std::string, std::string>& files) {
  for (const auto& [name, bytes] : files) {
    write_bytes(folder / name, bytes);
  }
  return folder;
}

}  // namespace

TEST(ImageSource, ReadsFolderAndZipEqually) {
  TemporaryFolder folder;
  const auto files = some_files();
  const auto plain = open_image_source(write_folder(folder / "images", files));
  ZipWriter stored;
  ZipWriter deflated;
  ZipWriter wide(ZipWriter::Form::kZip64);
  for (const auto& [name, bytes] : files) {
    stored.add(name, bytes, false);
    deflated.add(name, bytes, true);
    wide.add(name, bytes, bytes.size() % 2 == 0);
  }
  const std::vector<std::string> zips = {stored.finish("a comment"), deflated.finish(), wide.finish()};
  for (size_t i = 0; i < zips.size(); ++i) {
    const auto zip = open_image_source(write_bytes(folder / ("z" + std::to_string(i) + ".zip"), zips[i]));
    for (const auto& [name, bytes] : files) {
      ASSERT_TRUE(plain->contains(name));
      ASSERT_TRUE(zip->contains(name)) << name;
      ASSERT_EQ(plain->read(name), bytes);
      ASSERT_EQ(zip->read(name), bytes) << name;
    }
    EXPECT_FALSE(zip->contains("part0/none.jpg"));
    EXPECT_FALSE(zip->contains("part0/"));
  }
  EXPECT_FALSE(plain->contains("part0/none.jpg"));
  EXPECT_FALSE(plain->contains("part0"));
}

TEST(ImageSource, ReadsWhatTheZipProgramWrites) {
  TemporaryFolder folder;
  const auto files = some_files();
  write_folder(folder / "images", files);
  const std::string command =
      "cd '" + folder.path().string() + "' && python3 -m zipfile -c real.zip images/ > /dev/null 2>&1";
  if (std::system(command.c_str()) != 0) {
    GTEST_SKIP() << "NOT RUN: no python3 with zipfile here";
  }
  const auto zip = open_image_source(folder / "real.zip");
  for (const auto& [name, bytes] : files) {
    ASSERT_EQ(zip->read("images/" + name), bytes) << name;
    ASSERT_EQ(zip->read(fs::path(name).filename().string()), bytes) << name;
  }
}

TEST(ImageSource, FindsZipEntriesByFileNameOnlyIfItIsUnique) {
  TemporaryFolder folder;
  ZipWriter writer;
  writer.add("a/one.jpg", "1");
  writer.add("a/two.jpg", "2");
  writer.add("b/two.jpg", "3");
  writer.add("b/twice.jpg", "4");
  writer.add("b/twice.jpg", "5");
  writer.add("b/", "");
  const auto zip = open_image_source(write_bytes(folder / "z.zip", writer.finish()));
  EXPECT_EQ(zip->read("one.jpg"), "1");
  EXPECT_EQ(zip->read("a/two.jpg"), "2");
  EXPECT_EQ(zip->read("b/two.jpg"), "3");
  EXPECT_FALSE(zip->contains("two.jpg"));
  EXPECT_NE(error_of([&] { zip->read("two.jpg"); }).find("z.zip: two.jpg: not in the zip"), std::string::npos);
  EXPECT_NE(error_of([&] { find_image(*zip, "two.jpg", ""); }).find("a/two.jpg and b/two.jpg end so"),
            std::string::npos);
  EXPECT_EQ(zip->read("b/twice.jpg"), "5") << "of equal paths the last counts";
  EXPECT_EQ(zip->read("twice.jpg"), "5");
}

TEST(ImageSource, FindsZipEntriesByTheEndOfTheirPath) {
  TemporaryFolder folder;
  ZipWriter writer;
  writer.add("images/00453/1.jpg", "1");
  writer.add("images/00454/1.jpg", "2");
  writer.add("images/00454/2.jpg", "3");
  writer.add("other/00454/2.jpg", "4");
  writer.add("images/100453/3.jpg", "5");
  const auto path = write_bytes(folder / "z.zip", writer.finish());
  const auto zip = open_image_source(path);
  EXPECT_EQ(zip->read("00453/1.jpg"), "1");
  EXPECT_EQ(zip->read("00454/1.jpg"), "2");
  EXPECT_EQ(zip->read("images/00454/2.jpg"), "3");
  EXPECT_FALSE(zip->contains("00453/3.jpg")) << "a folder's name is whole";
  EXPECT_EQ(error_of([&] { find_image(*zip, "00454/2.jpg", ""); }),
            "image 00454/2.jpg ambiguous in " + path.string() +
                ": images/00454/2.jpg and other/00454/2.jpg end so; name the folder too, or give one as --images_dir " +
                path.string() + "/FOLDER");
  EXPECT_NE(error_of([&] { find_image(*zip, "1.jpg", "COCO_"); }).find("image 1.jpg ambiguous"), std::string::npos);
  EXPECT_NE(error_of([&] { find_image(*zip, "9.jpg", ""); }).find("9.jpg not found in"), std::string::npos);
}

TEST(ImageSource, OpensAFolderOfAZip) {
  TemporaryFolder folder;
  ZipWriter writer;
  writer.add("images/00454/2.jpg", "3");
  writer.add("other/00454/2.jpg", "4");
  const fs::path path = write_bytes(folder / "z.zip", writer.finish());
  EXPECT_EQ(open_image_source(path / "other")->read("00454/2.jpg"), "4");
  EXPECT_EQ(open_image_source(path / "images/00454/")->read("2.jpg"), "3");
  EXPECT_EQ(open_image_source(path / "other")->description(), path.string() + "/other/");
  EXPECT_FALSE(open_image_source(path / "other")->contains("2.jpg"));
  EXPECT_NE(error_of([&] { open_image_source(path / "oth"); }).find("z.zip: expected a folder oth in the zip"),
            std::string::npos);
}

TEST(ImageSource, RefusesNamesThatLeaveThePlace) {
  TemporaryFolder folder;
  write_bytes(folder / "secret.txt", "secret");
  write_bytes(folder / "images/in/a.jpg", "a");
  ZipWriter writer;
  writer.add("../secret.txt", "s");
  writer.add("a.jpg", "a");
  const auto plain = open_image_source(folder / "images");
  const auto zip = open_image_source(write_bytes(folder / "z.zip", writer.finish()));
  for (const auto* source : {plain.get(), zip.get()}) {
    for (const std::string name : {std::string("../secret.txt"), std::string("in/../../secret.txt"), std::string(".."),
                                   (folder / "secret.txt").string(), std::string(), std::string("in/..")}) {
      EXPECT_FALSE(source->contains(name)) << name;
      EXPECT_NE(error_of([&] { source->read(name); }).find("without '..'"), std::string::npos) << name;
      EXPECT_NE(error_of([&] { find_image(*source, name, ""); }).find(" refused: expected"), std::string::npos) << name;
    }
  }
  EXPECT_EQ(plain->read("in/a.jpg"), "a");
  EXPECT_EQ(plain->read("./in/a.jpg"), "a");
}

TEST(ImageSource, PrefersThePrefixedName) {
  TemporaryFolder folder;
  write_folder(folder / "p", {{"COCO_1.jpg", "x"}, {"1.jpg", "y"}, {"2.jpg", "z"}});
  const auto source = open_image_source(folder / "p");
  EXPECT_EQ(find_image(*source, "1.jpg", "COCO_"), "COCO_1.jpg");
  EXPECT_EQ(find_image(*source, "1.jpg", ""), "1.jpg");
  EXPECT_EQ(find_image(*source, "2.jpg", "COCO_"), "2.jpg");
  EXPECT_EQ(error_of([&] { find_image(*source, "3.jpg", "COCO_"); }),
            concat("image 3.jpg not found in ", (folder / "p/").string(), ", nor COCO_3.jpg (--image_prefix)"));
}

TEST(ImageSource, NamesTheSourceAndTheFileInErrors) {
  TemporaryFolder folder;
  write_bytes(folder / "p/a.jpg", "a");
  EXPECT_NE(error_of([&] {
              open_image_source(folder / "none");
            }).find("expected a folder of images or a zip archive, found nothing"),
            std::string::npos);
  const auto source = open_image_source(folder / "p");
  EXPECT_NE(error_of([&] { source->read("b.jpg"); }).find("p/b.jpg: cannot be read: No such file"), std::string::npos);
  write_bytes(folder / "p/sub/c.jpg", "c");
  EXPECT_NE(error_of([&] { source->read("sub"); }).find("expected a file, found a folder"), std::string::npos);
}

TEST(ImageSource, RefusesZipsThatAreNone) {
  TemporaryFolder folder;
  ZipWriter writer;
  for (int i = 0; i < 50; ++i) {
    writer.add(std::to_string(i) + ".jpg", std::string(100, 'x'));
  }
  const std::string whole = writer.finish();
  for (const std::string& bytes :
       {std::string(), std::string("PK"), std::string(100000, 'x'), whole.substr(0, whole.size() - 1),
        whole.substr(0, whole.size() / 2), whole.substr(200)}) {
    const auto path = write_bytes(folder / "bad.zip", bytes);
    EXPECT_NE(error_of([&] { open_image_source(path); }).find("bad.zip: expected"), std::string::npos);
  }
}

TEST(ImageSource, NeverTakesDamagedZipBytesForAnImage) {
  TemporaryFolder folder;
  ZipWriter writer;
  std::map<std::string, std::string> files;
  for (int i = 0; i < 6; ++i) {
    files[std::to_string(i) + ".jpg"] = std::string(300, static_cast<char>('a' + i)) + std::to_string(i);
    writer.add(std::to_string(i) + ".jpg", files[std::to_string(i) + ".jpg"], i % 2 == 0);
  }
  const std::string whole = writer.finish();
  int refused = 0;
  for (size_t at = 0; at < whole.size(); ++at) {
    std::string bytes = whole;
    bytes[at] = static_cast<char>(bytes[at] ^ 0xFF);
    const auto path = write_bytes(folder / "bad.zip", bytes);
    try {
      const auto zip = open_image_source(path);
      for (const auto& [name, expected] : files) {
        if (zip->contains(name)) {
          try {
            ASSERT_EQ(zip->read(name), expected) << at;
          } catch (const Error&) {
            ++refused;
          }
        }
      }
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 500);
}

TEST(ImageSource, RefusesEncryptedAndForeignMethods) {
  TemporaryFolder folder;
  ZipWriter encrypted;
  encrypted.add("a.jpg", "abc", false, {.flags = 1});
  ZipWriter foreign;
  foreign.add("a.jpg", "abc", false, {.method = 93});
  const auto first = open_image_source(write_bytes(folder / "e.zip", encrypted.finish()));
  const auto second = open_image_source(write_bytes(folder / "m.zip", foreign.finish()));
  EXPECT_NE(error_of([&] { first->read("a.jpg"); }).find("e.zip: a.jpg: expected an open entry"), std::string::npos);
  EXPECT_NE(error_of([&] { second->read("a.jpg"); }).find("found zip method 93"), std::string::npos);
}

TEST(ImageSource, DoesNotBelieveHugeSizes) {
  TemporaryFolder folder;
  for (const auto form : {ZipWriter::Form::kPlain, ZipWriter::Form::kZip64}) {
    ZipWriter writer(form);
    writer.add("bomb.jpg", std::string(100, 'a'), true, {.size = 2'000'000'000});
    writer.add("long.jpg", std::string(100, 'a'), true, {.stored_size = 2'000'000'000});
    writer.add("both.jpg", std::string(100, 'a'), false, {.size = 900'000'000, .stored_size = 900'000'000});
    writer.add("dense.jpg", std::string(100, 'a'), true, {.size = 1'000'000'000});
    writer.add("good.jpg", "good");
    const auto path = write_bytes(folder / "bad.zip", writer.finish());
    const auto zip = open_image_source(path);
    for (const char* name : {"bomb.jpg", "long.jpg", "both.jpg", "dense.jpg"}) {
      EXPECT_NE(error_of([&] { zip->read(name); }).find("expected the sizes of an image"), std::string::npos) << name;
    }
    EXPECT_EQ(zip->read("good.jpg"), "good");
  }
  const auto large = write_bytes(folder / "images/large.jpg", "");
  fs::resize_file(large, uint64_t{5} << 30U);
  const auto images = open_image_source(folder / "images");
  EXPECT_NE(error_of([&] { images->read("large.jpg"); }).find("found a file of 5368709120 bytes"), std::string::npos);
}

TEST(ImageSource, TakesTheZipOfAFolderThatIsNotThere) {
  TemporaryFolder folder;
  ZipWriter writer;
  writer.add("a.jpg", "abc");
  write_bytes(folder / "sft_images.zip", writer.finish());
  EXPECT_EQ(open_image_source(folder / "sft_images")->read("a.jpg"), "abc");
  write_bytes(folder / "sft_images/a.jpg", "from the folder");
  EXPECT_EQ(open_image_source(folder / "sft_images")->read("a.jpg"), "from the folder");
  EXPECT_NE(error_of([&] { open_image_source(folder / "none"); }).find("found nothing"), std::string::npos);
}

TEST(ImageSource, ServesThreadsAtOnce) {
  TemporaryFolder folder;
  const auto files = some_files();
  ZipWriter writer;
  for (const auto& [name, bytes] : files) {
    writer.add(name, bytes, true);
  }
  const auto zip = open_image_source(write_bytes(folder / "z.zip", writer.finish()));
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 20; ++round) {
        for (const auto& [name, bytes] : files) {
          wrong += zip->read(name) == bytes ? 0 : 1;
        }
      }
    });
  }
  for (auto& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(wrong, 0);
}

TEST(ImageSource, IndexesHalfAMillionEntriesInSeconds) {
  TemporaryFolder folder;
  ZipWriter writer(ZipWriter::Form::kZip64);
  constexpr int kEntries = 500000;
  for (int i = 0; i < kEntries; ++i) {
    writer.add("train2014/COCO_train2014_" + std::to_string(100000000 + i) + ".jpg", std::to_string(i));
  }
  const auto path = write_bytes(folder / "big.zip", writer.finish());
  const std::clock_t start = std::clock();  // the processor's time: other tests run beside this one
  const auto zip = open_image_source(path);
  const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  std::cout << "indexed " << kEntries << " zip entries in " << seconds << " s" << std::endl;
  EXPECT_LT(seconds, 3);
  for (int i = 0; i < kEntries; i += 4999) {
    ASSERT_EQ(zip->read("COCO_train2014_" + std::to_string(100000000 + i) + ".jpg"), std::to_string(i));
  }
}

}  // namespace minimind::testing
