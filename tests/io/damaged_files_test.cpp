#include <ATen/ATen.h>
#include <caffe2/serialize/inline_container.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include "io/io_support.h"
#include "minimind/base/random.h"

namespace minimind {
namespace {

using testing::error_of;
using testing::read_bytes;
using testing::TemporaryFolder;
using testing::write_bytes;

StateDict small_state() {
  StateDict state;
  const at::Tensor tied = at::arange(32, at::kFloat).view({8, 4});
  state.add("tok_embeddings.weight", tied);
  state.add("layers.0.attention.wq.weight", at::arange(16, at::kHalf).view({4, 4}));
  state.add("output.weight", tied);
  return state;
}

/// Reads a file that may be damaged and touches every byte of what comes out. Anything but Error escapes.
bool reads(const std::filesystem::path& path) {
  try {
    for (const auto& [name, tensor] : read_state_dict(path).entries()) {
      EXPECT_LT(tensor.nbytes(), size_t{1} << 20) << name;
      tensor.to(at::kDouble).sum().item<double>();
    }
    return true;
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()), "");
    return false;
  }
}

/// No test here may need much memory, whatever the file says.
class DamagedFile : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    const std::filesystem::path path = folder_ / "good";
    if (GetParam() == "pth") {
      write_pth(path, small_state());
    } else {
      StateDict state = small_state();
      state.entries().pop_back();
      write_safetensors(path, state, {{"config", "{\"dim\": 4}"}});
    }
    bytes_ = read_bytes(path);
    damaged_ = folder_ / ("damaged." + GetParam());
    before_ = peak_kilobytes();
  }
  void TearDown() override { EXPECT_LT(peak_kilobytes() - before_, 200 * 1024); }
  static int64_t peak_kilobytes() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
  }

  TemporaryFolder folder_;
  std::string bytes_;
  std::filesystem::path damaged_;
  int64_t before_ = 0;
};
INSTANTIATE_TEST_SUITE_P(Formats, DamagedFile, ::testing::Values("pth", "safetensors"));

TEST_P(DamagedFile, IsRefusedWhereverItWasCut) {
  for (size_t size = 0; size < bytes_.size(); ++size) {
    write_bytes(damaged_, bytes_.substr(0, size));
    ASSERT_FALSE(reads(damaged_)) << size;
  }
}

TEST_P(DamagedFile, NeverCrashesWithAByteChanged) {
  size_t refused = 0;
  for (size_t at = 0; at < bytes_.size(); ++at) {
    for (const int change : {0x01, 0x80, 0xFF}) {
      std::string bytes = bytes_;
      bytes[at] = static_cast<char>(bytes[at] ^ change);
      write_bytes(damaged_, bytes);
      refused += reads(damaged_) ? 0 : 1;
    }
  }
  EXPECT_GT(refused, bytes_.size() / 4);
}

TEST_P(DamagedFile, NeverCrashesWithPartsMixedUp) {
  Random random(17);
  for (int round = 0; round < 1000; ++round) {
    std::string bytes = bytes_;
    const auto changes = random.between(1, 8);
    for (int64_t change = 0; change < changes; ++change) {
      const size_t from = random.below(bytes.size()), to = random.below(bytes.size());
      const size_t size = std::min<size_t>(random.between(1, 40), bytes.size() - std::max(from, to));
      bytes.replace(to, size, random.below(2) == 0 ? bytes.substr(from, size) : std::string(size, '\xFF'));
    }
    write_bytes(damaged_, bytes);
    reads(damaged_);
  }
}

TEST(DamagedPth, TellsOfAFlippedWeightBit) {
  const TemporaryFolder folder;
  write_pth(folder / "a.pth", small_state());
  std::string bytes = read_bytes(folder / "a.pth");
  const float value = 17;
  const size_t at = bytes.find(std::string(reinterpret_cast<const char*>(&value), 4));
  ASSERT_NE(at, std::string::npos);
  bytes[at] = static_cast<char>(bytes[at] ^ 1);
  write_bytes(folder / "a.pth", bytes);
  EXPECT_NE(error_of([&] { read_state_dict(folder / "a.pth"); }).find("checksum"), std::string::npos);
}

/// A .pth of two equal storages, its directory entry of the second one changed: `width` bytes at `field` of it.
std::string changed_entry_error(size_t field, uint64_t value, size_t width) {
  const TemporaryFolder folder;
  StateDict state;
  state.add("a", at::zeros({4}));
  state.add("b", at::zeros({4}));
  write_pth(folder / "a.pth", state);
  std::string bytes = read_bytes(folder / "a.pth");
  const size_t entry = bytes.rfind("archive/data/1") - 46;
  bytes.replace(entry + field, width, reinterpret_cast<const char*>(&value), width);
  write_bytes(folder / "a.pth", bytes);
  return error_of([&] { read_state_dict(folder / "a.pth"); });
}

TEST(DamagedPth, MayNotReadOneRecordTwice) {
  const TemporaryFolder folder;
  StateDict state;
  state.add("a", at::zeros({4}));
  state.add("b", at::zeros({4}));
  write_pth(folder / "a.pth", state);
  const uint64_t first = read_bytes(folder / "a.pth").find("archive/data/0") - 30;
  EXPECT_NE(changed_entry_error(42, first, 4).find("overlap"), std::string::npos);
}

TEST(DamagedPth, SaysThatARecordIsEncryptedOrCompressed) {
  EXPECT_NE(changed_entry_error(8, 1, 2).find("record archive/data/1: expected stored bytes"), std::string::npos);
  EXPECT_NE(changed_entry_error(10, 8, 2).find("found a compressed or encrypted record"), std::string::npos);
}

TEST(DamagedPth, DoesNotBelieveSizesBeyondTheFile) {
  for (const uint64_t size : {uint64_t{17}, uint64_t{1} << 31, uint64_t{0xFFFFFFFF}}) {
    const uint64_t both = size << 32 | size;  // stored and unpacked
    EXPECT_NE(changed_entry_error(20, both, 8), "") << size;
  }
  EXPECT_NE(changed_entry_error(42, 0xFFFFFFF0, 4).find("damaged zip archive"), std::string::npos);
}

/// An archive with the given pickle and one storage of four floats.
class CraftedPickle : public ::testing::Test {
 protected:
  std::string error(const std::string& pickle) {
    const std::filesystem::path path = folder_ / "a.pth";
    const std::string storage(16, '\0');
    caffe2::serialize::PyTorchStreamWriter zip(path.string());
    zip.writeRecord("data.pkl", pickle.data(), pickle.size());
    zip.writeRecord("data/0", storage.data(), storage.size());
    zip.writeEndOfFile();
    return error_of([&] { read_state_dict(path); });
  }
  static std::string text(const std::string& value) {
    return "X" + std::string(1, static_cast<char>(value.size())) + std::string(3, '\0') + value;
  }
  static std::string number(int64_t value) {
    return "\x8a\x08" + std::string(reinterpret_cast<const char*>(&value), 8);
  }
  /// {"w": a tensor of the storage}, with the storage's count, offset, size and stride.
  static std::string tensor(int64_t count, int64_t offset, int64_t size, int64_t stride) {
    return "\x80\x02}" + text("w") + "ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") +
           "ctorch\nFloatStorage\n" + text("0") + text("cpu") + number(count) + "tQ" + number(offset) + number(size) +
           "\x85" + number(stride) + "\x85\x89}tRs.";
  }

  TemporaryFolder folder_;
};

TEST_F(CraftedPickle, ReadsTheFormThatTheOthersAreChangedFrom) {
  EXPECT_EQ(error(tensor(4, 0, 4, 1)), "");
}

TEST_F(CraftedPickle, MayNotLeaveItsStorage) {
  const int64_t huge = int64_t{1} << 62;
  EXPECT_NE(error(tensor(4, 1, 4, 1)).find("passes its end"), std::string::npos);
  EXPECT_NE(error(tensor(4, 0, 2, 4)).find("passes its end"), std::string::npos);
  EXPECT_NE(error(tensor(4, huge, 4, 1)).find("passes its end"), std::string::npos);
  EXPECT_NE(error(tensor(4, 0, 4, huge)).find("passes its end"), std::string::npos);
  EXPECT_NE(error(tensor(4, 0, huge, 0)).find("fits in memory"), std::string::npos);
  EXPECT_NE(error(tensor(5, 0, 4, 1)).find("expected 5 elements"), std::string::npos);
  EXPECT_NE(error(tensor(4, 0, 5, 0)).find("found a tensor [5] that repeats them"), std::string::npos);
  EXPECT_NE(error(tensor(4, 0, 1'000'000'000, 0)).find("that repeats them"), std::string::npos);
  EXPECT_NE(error(tensor(huge, 0, 4, 1)).find("found 16 bytes"), std::string::npos);
  EXPECT_NE(error(tensor(4, -1, 4, 1)), "");
  EXPECT_NE(error(tensor(4, 0, -4, 1)), "");
  EXPECT_NE(error(tensor(4, 3, 4, -1)), "");
  EXPECT_NE(error(tensor(-4, 0, 4, 1)), "");
}

TEST_F(CraftedPickle, CanCallNothing) {
  const std::string witness = (folder_ / "witness").string();
  const std::string call =
      "\x80\x02"
      "cposix\nsystem\n" +
      text("touch " + witness) + "\x85R.";
  EXPECT_NE(error(call).find("posix.system"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(witness));
  for (const std::string& name : {"builtins\neval\n", "builtins\ngetattr\n", "torch\nload\n",
                                  "torch.serialization\nload\n", "torch._utils\n_rebuild_tensor_v2.__globals__\n"}) {
    EXPECT_NE(error("\x80\x02"
                    "c" +
                    name + ")R.")
                  .find("nothing was executed"),
              std::string::npos)
        << name;
  }
  EXPECT_NE(error("\x80\x04" + text("os") + text("system") + "\x93.").find("os.system"), std::string::npos);
}

TEST_F(CraftedPickle, SurvivesNestingCyclesAndLoosEnds) {
  const std::string deep = "\x80\x02)" + std::string(1'000'000, '\x85') + ".";
  EXPECT_NE(error(deep).find("found a tuple"), std::string::npos);
  EXPECT_NE(error("\x80\x02]q" + std::string(1, '\0') + "h" + std::string(1, '\0') + "a.").find("found a list"),
            std::string::npos);
  std::string chain = "\x80\x02]";
  for (int i = 0; i < 200'000; ++i) {
    chain += "]a";
  }
  EXPECT_NE(error(chain + "."), "");
  for (const std::string& program :
       {"",     ".",    "t.", "(.",     "}s.", "}a.",       "](u.",   "}(Nu.", "Q.",   "NQ.",
        "R.",   "NNR.", "b.", "h\x05.", "}}.", "\x80\x63.", "(NNNs.", "i",     "ca\n", "X\xff\xff\xff\xff.",
        "}N}s."}) {
    EXPECT_NE(error(program), "") << program;
  }
}

TEST_F(CraftedPickle, NamesTheKeyThatIsNoTensor) {
  EXPECT_NE(error("\x80\x02}" + text("epoch") + "K\x05s.").find("key \"epoch\": expected a tensor, found an integer"),
            std::string::npos);
  EXPECT_NE(error("\x80\x02}" + text("model") + "}s.").find("checkpoint[\"model\"]"), std::string::npos);
}

TEST_F(CraftedPickle, ShowsControlCharactersOfKeysAndNamesAsEscapes) {
  const std::string key = error("\x80\x02}" + text("a\x1b[31m\nb") + "}s.");
  EXPECT_NE(key.find(R"(key "a\u001b[31m\u000ab": expected a tensor)"), std::string::npos) << key;
  const std::string name = error(
      "\x80\x02"
      "cos\x1b[31m\nsystem\n.");
  EXPECT_NE(name.find(R"(the Python object os\u001b[31m.system)"), std::string::npos) << name;
}

/// A safetensors file of one header and eight bytes of data.
std::string safetensors_error(const std::string& header, size_t data = 8) {
  const TemporaryFolder folder;
  std::string bytes(8, '\0');
  const uint64_t size = header.size();
  std::memcpy(bytes.data(), &size, 8);
  write_bytes(folder / "a.safetensors", bytes + header + std::string(data, '\0'));
  return error_of([&] { read_state_dict(folder / "a.safetensors"); });
}

TEST(CraftedSafetensors, MustTileItsData) {
  EXPECT_EQ(safetensors_error(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})"), "");
  EXPECT_NE(safetensors_error(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})").find("a gap"),
            std::string::npos);
  EXPECT_NE(safetensors_error(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                              R"("b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})")
                .find("overlaps"),
            std::string::npos);
  EXPECT_NE(safetensors_error(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 7).find("found 7"),
            std::string::npos);
  EXPECT_NE(safetensors_error(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 9).find("found 9"),
            std::string::npos);
}

TEST(CraftedSafetensors, RefusesHeadersThatLie) {
  for (const char* entry :
       {R"({"dtype":"F32","shape":[3],"data_offsets":[0,8]})", R"({"dtype":"F32","shape":[-2],"data_offsets":[0,8]})",
        R"({"dtype":"F32","shape":[2.0],"data_offsets":[0,8]})", R"({"dtype":"F32","shape":2,"data_offsets":[0,8]})",
        R"({"dtype":"F32","shape":[2],"data_offsets":[8,0]})", R"({"dtype":"F32","shape":[2],"data_offsets":[0]})",
        R"({"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]})",
        R"({"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,8]})",
        R"({"dtype":"F32","shape":[0,4611686018427387904,4611686018427387904],"data_offsets":[0,0]})",
        R"({"dtype":"Q4","shape":[2],"data_offsets":[0,8]})", R"({"dtype":5,"shape":[2],"data_offsets":[0,8]})",
        R"({"shape":[2],"data_offsets":[0,8]})", R"(5)", R"("F32")"}) {
    EXPECT_NE(safetensors_error(R"({"a":)" + std::string(entry) + "}").find("key \"a\""), std::string::npos) << entry;
  }
  EXPECT_NE(safetensors_error("[1]"), "");
  EXPECT_NE(safetensors_error("{"), "");
  EXPECT_NE(safetensors_error("{}"), "");
  EXPECT_NE(safetensors_error("{" + std::string(100'000, '[')), "");
}

TEST(CraftedSafetensors, MayHoldNumbersThatNoModelOfOursUses) {
  for (const char* entry :
       {R"({"dtype":"C64","shape":[1],"data_offsets":[0,8]})", R"({"dtype":"U16","shape":[4],"data_offsets":[0,8]})",
        R"({"dtype":"U32","shape":[2],"data_offsets":[0,8]})", R"({"dtype":"U64","shape":[1],"data_offsets":[0,8]})"}) {
    EXPECT_EQ(safetensors_error(concat(R"({"layers.0.pos_cis":)", entry, "}")), "");
  }
}

TEST(CraftedSafetensors, ShowsControlCharactersOfKeysAsEscapes) {
  const std::string message =
      safetensors_error(R"({"a\u001b[31m\nb":{"dtype":"Q4","shape":[2],"data_offsets":[0,8]}})");
  EXPECT_NE(message.find(R"(key "a\u001b[31m\u000ab": expected dtype)"), std::string::npos) << message;
}

TEST(CraftedSafetensors, RefusesRepeatedKeysAndDeepNesting) {
  const std::string entry = R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  EXPECT_NE(safetensors_error(R"({"a":)" + entry + R"(,"a":)" + entry + "}").find("key \"a\" is there twice"),
            std::string::npos);
  EXPECT_NE(safetensors_error(R"({"":)" + entry + R"(,"":)" + entry + "}").find("is there twice"), std::string::npos);
  EXPECT_EQ(safetensors_error(R"({"__metadata__":{"a":"1","b":"[[[[[["},"a":)" + entry + "}"), "");
  EXPECT_NE(safetensors_error(R"({"a":)" + std::string(8'000'000, '[') + "}").find("nested at most"),
            std::string::npos);
  EXPECT_NE(safetensors_error("{" + std::string(17 << 20, ' ') + "}").find("found a length of"), std::string::npos);
}

TEST(CraftedSafetensors, DoesNotBelieveALongHeader) {
  const TemporaryFolder folder;
  std::string bytes(64, '{');
  const uint64_t size = uint64_t{1} << 60;
  std::memcpy(bytes.data(), &size, 8);
  write_bytes(folder / "a.safetensors", bytes);
  EXPECT_NE(error_of([&] { read_state_dict(folder / "a.safetensors"); }).find("truncated"), std::string::npos);
}

}  // namespace
}  // namespace minimind
