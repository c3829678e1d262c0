#include "minimind/data/feature_cache.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <iostream>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "data_support.h"

namespace minimind::testing {

namespace {

constexpr int64_t kTokens = 5;
constexpr int64_t kWidth = 12;

ContentHash key_of(int64_t image) {
  return hash_content("image " + std::to_string(image));
}

at::Tensor row_of(int64_t image, at::ScalarType dtype = at::kFloat) {
  at::Tensor row = at::empty({kTokens, kWidth}, at::kFloat);
  Random random(static_cast<uint64_t>(image) + 1);
  for (int64_t i = 0; i < row.numel(); ++i) {
    row.data_ptr<float>()[i] = static_cast<float>(random.normal());
  }
  return row.to(dtype);
}

bool holds(const FeatureCache& cache, int64_t image) {
  at::Tensor row = at::zeros({kTokens, kWidth}, cache.dtype());
  return cache.lookup(key_of(image), row) && at::equal(row, row_of(image, cache.dtype()));
}

bool lacks(const FeatureCache& cache, int64_t image) {
  at::Tensor row = at::zeros({kTokens, kWidth}, cache.dtype());
  return !cache.lookup(key_of(image), row);
}

std::unique_ptr<FeatureCache> open_cache(const fs::path& folder, const std::string& key = "encoder",
                                         at::ScalarType dtype = at::kFloat) {
  return FeatureCache::open(folder, key, kTokens, kWidth, dtype);
}

fs::path cache_file(const fs::path& folder, const std::string& extension) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == extension) {
      return entry.path();
    }
  }
  throw std::runtime_error("no " + extension + " file in " + folder.string());
}

void flip_byte(const fs::path& path, int64_t offset) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(offset);
  const auto byte = static_cast<char>(file.get() ^ 0x40);
  file.seekp(offset);
  file.put(byte);
}

// Runs `action` in a process of its own and returns its exit status.
template <class Action>
pid_t spawn(Action&& action) {
  const pid_t child = ::fork();
  if (child == 0) {
    try {
      ::_exit(action());
    } catch (const std::exception& error) {
      std::cerr << error.what() << std::endl;
      ::_exit(99);
    }
  }
  return child;
}

int wait_status(pid_t child) {
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

}  // namespace

TEST(ContentHash, DiffersForEveryChangeOfLengthAndByte) {
  std::set<std::string> seen;
  const std::string zeros(200, '\0');
  for (size_t length = 0; length <= zeros.size(); ++length) {
    seen.insert(to_hex(hash_content(std::string_view(zeros).substr(0, length))));
  }
  for (size_t at = 0; at < zeros.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string changed = zeros;
      changed[at] = static_cast<char>(1 << bit);
      seen.insert(to_hex(hash_content(changed)));
    }
  }
  EXPECT_EQ(seen.size(), 201U + 200U * 8U);
  EXPECT_NE(hash_content("b", hash_content("a")), hash_content("a", hash_content("b")));
}

TEST(ContentHash, SpreadsOneBitOverTheWholeResult) {
  const std::string text(777, 'x');
  const ContentHash before = hash_content(text);
  double flipped = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    std::string changed = text;
    changed[at] ^= 1;
    const ContentHash after = hash_content(changed);
    flipped += __builtin_popcountll(before.low ^ after.low) + __builtin_popcountll(before.high ^ after.high);
  }
  EXPECT_NEAR(flipped / static_cast<double>(text.size()), 64, 2);
}

TEST(FeatureCache, GivesBackWhatWasPutInEveryDtypeAndAfterReopening) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
    TemporaryFolder folder;
    {
      const auto cache = open_cache(folder.path(), "encoder", dtype);
      EXPECT_TRUE(lacks(*cache, 1));
      for (int64_t image = 0; image < 300; ++image) {
        cache->put(key_of(image), row_of(image));
      }
      cache->put(key_of(7), row_of(7));
      EXPECT_EQ(cache->size(), 300);
      EXPECT_TRUE(holds(*cache, 299));
    }
    const auto cache = open_cache(folder.path(), "encoder", dtype);
    EXPECT_EQ(cache->size(), 300);
    for (int64_t image = 0; image < 300; ++image) {
      ASSERT_TRUE(holds(*cache, image)) << image;
    }
    EXPECT_TRUE(lacks(*cache, 300));
  }
}

TEST(FeatureCache, KeepsOtherEncodersApart) {
  TemporaryFolder folder;
  const auto first = open_cache(folder.path(), "weights a");
  first->put(key_of(1), row_of(1));
  EXPECT_TRUE(lacks(*open_cache(folder.path(), "weights b"), 1));
  EXPECT_TRUE(lacks(*open_cache(folder.path(), "weights a", at::kBFloat16), 1));
  EXPECT_TRUE(holds(*open_cache(folder.path(), "weights a"), 1));
}

TEST(FeatureCache, RebuildsADamagedRow) {
  TemporaryFolder folder;
  {
    const auto cache = open_cache(folder.path());
    for (int64_t image = 0; image < 10; ++image) {
      cache->put(key_of(image), row_of(image));
    }
  }
  flip_byte(cache_file(folder.path(), ".rows"), 3 * 256 + 17);
  const auto cache = open_cache(folder.path());
  EXPECT_TRUE(lacks(*cache, 3));
  EXPECT_TRUE(holds(*cache, 2));
  EXPECT_TRUE(holds(*cache, 4));
  cache->put(key_of(3), row_of(3));
  EXPECT_TRUE(holds(*cache, 3));
  EXPECT_TRUE(holds(*open_cache(folder.path()), 3));
}

TEST(FeatureCache, IgnoresADamagedIndexEntry) {
  TemporaryFolder folder;
  {
    const auto cache = open_cache(folder.path());
    for (int64_t image = 0; image < 10; ++image) {
      cache->put(key_of(image), row_of(image));
    }
  }
  flip_byte(cache_file(folder.path(), ".index"), 64 + 32 * 5 + 2);
  const auto cache = open_cache(folder.path());
  EXPECT_EQ(cache->size(), 9);
  EXPECT_TRUE(lacks(*cache, 5));
  cache->put(key_of(5), row_of(5));
  for (int64_t image = 0; image < 10; ++image) {
    EXPECT_TRUE(holds(*cache, image)) << image;
  }
}

TEST(FeatureCache, StartsEmptyOnADamagedHeaderAndKeepsTheRestOfCutFiles) {
  TemporaryFolder folder;
  const auto fill = [&] {
    const auto cache = open_cache(folder.path());
    for (int64_t image = 0; image < 10; ++image) {
      cache->put(key_of(image), row_of(image));
    }
  };
  fill();
  flip_byte(cache_file(folder.path(), ".index"), 10);
  EXPECT_EQ(open_cache(folder.path())->size(), 0);
  fill();
  fs::resize_file(cache_file(folder.path(), ".index"), 64 + 32 * 4 + 31);
  EXPECT_EQ(open_cache(folder.path())->size(), 4);
  fill();
  EXPECT_EQ(open_cache(folder.path())->size(), 10);
  fs::resize_file(cache_file(folder.path(), ".rows"), 256 * 6 + 100);
  {
    const auto cache = open_cache(folder.path());
    EXPECT_EQ(cache->size(), 6);
    EXPECT_TRUE(lacks(*cache, 6));
  }
  fill();
  const auto cache = open_cache(folder.path());
  for (int64_t image = 0; image < 10; ++image) {
    EXPECT_TRUE(holds(*cache, image)) << image;
  }
}

TEST(FeatureCache, OutlivesRowsThatAreCutWhileItReads) {
  TemporaryFolder folder;
  const int status = wait_status(spawn([&] {
    const auto cache = open_cache(folder.path());
    for (int64_t image = 0; image < 40; ++image) {  // more than a page of memory
      cache->put(key_of(image), row_of(image));
    }
    fs::resize_file(cache_file(folder.path(), ".rows"), 256);
    const bool rest_is_gone = holds(*cache, 0) && lacks(*cache, 1) && lacks(*cache, 39);
    cache->put(key_of(39), row_of(39));
    return rest_is_gone && holds(*cache, 39) ? 0 : 1;
  }));
  EXPECT_EQ(status, 0) << "a signal if negative";
}

TEST(FeatureCache, SeesWhatAnotherProcessPuts) {
  TemporaryFolder folder;
  const auto cache = open_cache(folder.path());
  EXPECT_TRUE(lacks(*cache, 1));
  EXPECT_EQ(wait_status(spawn([&] {
              open_cache(folder.path())->put(key_of(1), row_of(1));
              return 0;
            })),
            0);
  EXPECT_TRUE(holds(*cache, 1));
}

TEST(FeatureCache, IsFilledBySeveralProcessesAtOnce) {
  TemporaryFolder folder;
  std::vector<pid_t> children;
  for (int64_t rank = 0; rank < 4; ++rank) {
    children.push_back(spawn([&, rank] {
      const auto cache = open_cache(folder.path());
      for (int64_t i = 0; i < 400; ++i) {
        const int64_t image = (i + 100 * rank) % 800;  // ranges overlap
        cache->put(key_of(image), row_of(image));
        if (!holds(*cache, image)) {
          return 1;
        }
      }
      return 0;
    }));
  }
  for (const pid_t child : children) {
    EXPECT_EQ(wait_status(child), 0);
  }
  const auto cache = open_cache(folder.path());
  EXPECT_EQ(cache->size(), 700);
  EXPECT_EQ(fs::file_size(cache_file(folder.path(), ".rows")), 700U * 256U) << "an image was written twice";
  for (int64_t image = 0; image < 700; ++image) {
    ASSERT_TRUE(holds(*cache, image)) << image;
  }
}

TEST(FeatureCache, NeverGivesAWrongRowAfterKills) {
  TemporaryFolder folder;
  Random random(5);
  int64_t rows_seen = 0;
  for (int round = 0; round < 20; ++round) {
    const pid_t child = spawn([&] {
      const auto cache = open_cache(folder.path());
      for (int64_t image = 0;; ++image) {
        cache->put(key_of(image), row_of(image));
      }
      return 0;
    });
    ::usleep(static_cast<useconds_t>(2000 + random.below(20000)));
    ::kill(child, SIGKILL);
    EXPECT_EQ(wait_status(child), -SIGKILL);
    const auto cache = open_cache(folder.path());
    ASSERT_GE(cache->size(), rows_seen);
    rows_seen = cache->size();
    for (int64_t image = 0; image < rows_seen; ++image) {
      ASSERT_TRUE(holds(*cache, image)) << "round " << round << ", image " << image;
    }
  }
  EXPECT_GT(rows_seen, 0);
}

TEST(FeatureCache, ServesReadersWhileItGrows) {
  TemporaryFolder folder;
  const auto cache = open_cache(folder.path());
  constexpr int64_t kImages = 9000;
  std::atomic<int64_t> written{0};
  std::atomic<int64_t> wrong{0};
  std::vector<std::thread> readers;
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([&, i] {
      Random random(static_cast<uint64_t>(i));
      at::Tensor row = at::empty({kTokens, kWidth});
      while (written < kImages) {
        const int64_t known = written;
        const auto image = known == 0 ? 0 : static_cast<int64_t>(random.below(static_cast<uint64_t>(known)));
        if (known > 0 && !cache->lookup(key_of(image), row)) {
          ++wrong;
        }
      }
    });
  }
  for (int64_t image = 0; image < kImages; ++image) {
    cache->put(key_of(image), row_of(image));
    ++written;
  }
  for (auto& reader : readers) {
    reader.join();
  }
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(cache->size(), kImages);
}

TEST(FeatureCache, StopsGrowingOnAFullDiskAndStaysUsable) {
  TemporaryFolder folder;
  const int status = wait_status(spawn([&] {
    const auto cache = open_cache(folder.path());
    const rlimit limit{256 * 3 + 100, 256 * 3 + 100};
    ::signal(SIGXFSZ, SIG_IGN);
    ::setrlimit(RLIMIT_FSIZE, &limit);
    for (int64_t image = 0; image < 6; ++image) {
      cache->put(key_of(image), row_of(image));
    }
    return cache->size() == 3 && holds(*cache, 2) && lacks(*cache, 3) ? 0 : 1;
  }));
  EXPECT_EQ(status, 0);
  const auto cache = open_cache(folder.path());
  cache->put(key_of(5), row_of(5));
  EXPECT_TRUE(holds(*cache, 0));
  EXPECT_TRUE(holds(*cache, 5));
}

/// Root may write everywhere, unless it gives up its capabilities.
bool give_up_roots_rights() {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[2] = {};
  return ::syscall(SYS_capset, &header, none) == 0;
}

TEST(FeatureCache, ReadsWhereItCannotWrite) {
  TemporaryFolder folder;
  const fs::path full = folder / "full";
  const fs::path empty = folder / "empty";
  fs::create_directory(empty);
  {
    const auto cache = open_cache(full);
    cache->put(key_of(0), row_of(0));
    cache->put(key_of(1), row_of(1));
  }
  constexpr auto kLookOnly = static_cast<fs::perms>(0555);
  for (const fs::path& path : {full, empty, folder.path()}) {
    fs::permissions(path, kLookOnly);
  }
  const int status = wait_status(spawn([&] {
    if (!give_up_roots_rights()) {
      return 2;
    }
    const auto cache = open_cache(full);
    cache->put(key_of(2), row_of(2));
    const bool reads = holds(*cache, 0) && holds(*cache, 1) && lacks(*cache, 2) && cache->size() == 2 &&
                       cache->disk_need(3).ends_with("2 are there; read only");
    const std::string refused = error_of([&] { open_cache(empty); });
    const std::string other = error_of([&] { open_cache(full, "another encoder"); });
    return reads && refused.find("empty: cannot be written") != std::string::npos &&
                   other.find("cannot be written") != std::string::npos
               ? 0
               : 1;
  }));
  for (const fs::path& path : {folder.path(), full, empty}) {
    fs::permissions(path, fs::perms::owner_all);
  }
  EXPECT_EQ(status, 0);
}

TEST(FeatureCache, RefusesWrongUse) {
  TemporaryFolder folder;
  EXPECT_NE(error_of([&] { open_cache(folder.path(), "k", at::kDouble); }).find("found Double"), std::string::npos);
  write_bytes(folder / "file", "x");
  EXPECT_THROW(open_cache(folder / "file"), Error);
  const auto cache = open_cache(folder.path());
  EXPECT_THROW(cache->put(key_of(1), at::zeros({kTokens, kWidth + 1})), std::logic_error);
  EXPECT_THROW(cache->lookup(key_of(1), at::zeros({kTokens, kWidth}, at::kHalf)), std::logic_error);
}

TEST(FeatureCache, SaysTheDiskNeed) {
  TemporaryFolder folder;
  EXPECT_EQ(FeatureCache::bytes_per_image(50, 768, at::kBFloat16), 50 * 768 * 2 + 32);
  const auto cache = open_cache(folder.path());
  const std::string need = cache->disk_need(1000);
  EXPECT_NE(need.find("1000 images x 288 B = 288.0 kB; 0 are there"), std::string::npos) << need;
  EXPECT_EQ(need.find("needed"), std::string::npos) << need;
  EXPECT_NE(cache->disk_need(1000000000000).find("needed"), std::string::npos);
}

}  // namespace minimind::testing
